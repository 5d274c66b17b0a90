// The options of createHealth(): wrong ones throw immediately, with every fault and no value.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { ConfigError, createHealth, type HealthOptions } from '../../../library.ts'

const check = async () => {}

/** Options as JavaScript may give them, and the faults that they have. */
const wrong: readonly (readonly [given: unknown, ...faults: RegExp[]])[] = [
  [undefined, /^check or database must be given/],
  [null, /^check or database must be given/],
  [{}, /^check or database must be given/],
  [{ database: undefined }, /^database is undefined: is its environment variable set\?$/],
  [{ check: undefined }, /^check or database must be given/],
  [{ check: undefined, database: undefined }, /^database is undefined/],
  [{ check, database: 'postgres://u@h/d' }, /^check and database are both given/],
  [{ check: Promise.resolve() }, /^check must be a function/],
  [{ check: 1 }, /^check must be a function/],
  ...[199, 60_001, 2000.5, Number.NaN, Number.POSITIVE_INFINITY, -1, '2000', null].map(
    timeoutMs =>
      [{ check, timeoutMs }, /^timeoutMs must be a whole number of milliseconds from 200 to 60000$/] as const,
  ),
  ...[404, 499, 600, '503'].map(
    unhealthyStatus =>
      [{ check, unhealthyStatus }, /^unhealthyStatus must be 200, or a number from 500 to 599$/] as const,
  ),
  ...[0, 11, 1.5, '2', null].map(
    maxPending => [{ check, maxPending }, /^maxPending must be a whole number from 1 to 10$/] as const,
  ),
  ...[{}, [1], () => true].map(expect => [{ check, expect }, /^expect must be a string, a number/] as const),
  ...['internal', '/', '/internal/', '/a?b', '/a b', 1, null].map(
    prefix => [{ check, prefix }, /^prefix must begin with a slash, and not end with one/] as const,
  ),
  ...['on', 1, null].map(pages => [{ check, pages }, /^pages must be true or false$/] as const),
  [{ check, onVerdict: 'log' }, /^onVerdict must be a function$/],
  [{ check, timeout: 1 }, /^timeout is unknown; known are check, database, /],
  [{ check, timeout: 1, 'postgres://u:s3cret@h/d': 1 }, /^timeout, an option are unknown; known are check, /],
  [{ check, a: 1, b: 2, c: 3, d: 4, s3cret: 5 }, /^a, b, c and 2 more are unknown; known are check, /],
  [new pg.Pool(), /^\w+, \w+, \w+ and \d+ more are unknown; known are check, /, /^check or database must/],
  [{ check, 'a secret\n': 1 }, /^an option is unknown; known are /],
  [{ database: '' }, /^database must be a postgres:\/\/ URL/],
  [{ database: 5432 }, /^database must be a postgres:\/\/ URL/],
  [
    { database: 'mysql://u:s3cret@h/d' },
    /^database is a URL for mysql, not for PostgreSQL: it must begin with postgres:\/\/$/,
  ],
  [{ database: 'postgres://h/d' }, /^database must name a user$/],
  [{ database: 'postgres://u:s3cret@h/d?sslmode=s3cret' }, /^database: sslmode /],
  [
    { database: 'postgres://u@h/d', expect: 1, maxPending: 1 },
    /^expect needs check/,
    /^maxPending needs check/,
  ],
  [
    { check: 1, timeoutMs: 1, unhealthyStatus: 1, prefix: 1, pages: 1, maxPending: 0, more: 1 },
    /^more is unknown/,
    /^prefix must/,
    /^pages must/,
    /^timeoutMs must/,
    /^unhealthyStatus must/,
    /^check must/,
    /^maxPending must/,
  ],
]

test('createHealth() throws one ConfigError that names every fault, and repeats no value', () => {
  for (const [given, ...expected] of wrong) {
    assert.throws(
      () => createHealth(given as HealthOptions),
      error => {
        assert.ok(error instanceof ConfigError, String(error))
        assert.equal(error.faults.length, expected.length, error.message)
        for (const [at, fault] of expected.entries()) assert.match(error.faults[at] ?? '', fault)
        assert.doesNotMatch(error.message, /s3cret/)
        return true
      },
    )
  }
})

test('createHealth() accepts values at the limits, and starts nothing', () => {
  const unused = () => assert.fail('the check was called')
  for (const given of [
    { timeoutMs: 200, unhealthyStatus: 200, maxPending: 1, prefix: '' },
    { timeoutMs: 60_000, unhealthyStatus: 599, maxPending: 10, prefix: '/a/b.c', pages: true },
    {
      pages: undefined,
      timeoutMs: undefined,
      unhealthyStatus: undefined,
      maxPending: undefined,
      prefix: undefined,
    },
    { expect: null },
    { expect: 1n },
  ]) {
    createHealth({ check: unused, ...given })
  }
  createHealth({ database: 'postgres://user:password@127.0.0.1:1/database' })
})

test('createHealth() has types that refuse no source, two sources, and an option of the other source', () => {
  const url = 'postgres://user@host/database'
  const refused: unknown[] = [
    // @ts-expect-error
    {} satisfies HealthOptions,
    // @ts-expect-error
    { check, database: url } satisfies HealthOptions,
    // @ts-expect-error
    { database: url, maxPending: 1 } satisfies HealthOptions,
    // @ts-expect-error
    { check: () => 1 } satisfies HealthOptions,
  ]
  assert.equal(refused.length, 4)
})
