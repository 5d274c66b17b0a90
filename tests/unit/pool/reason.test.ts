// Each failure of a service's driver, pool or ORM, and the reason that it gets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Reason } from '../../../lib/health/verdict.ts'
import { GaveUp, poolReasonOf, UnexpectedResult } from '../../../lib/pool/reason.ts'

const coded = (code: string, message = 'connect to db.internal failed') =>
  Object.assign(new Error(message), { code })
const named = (name: string) => Object.assign(new Error('words that vary'), { name })
const wrapped = (key: string, inner: unknown) => Object.assign(new Error('Failed query'), { [key]: inner })

test('poolReasonOf() knows the codes of PostgreSQL and of the network, whatever the driver', () => {
  const table = {
    53300: 'pool_exhausted',
    ECONNREFUSED: 'unreachable',
    '57P03': 'starting_up',
    '28P01': 'auth_failed',
  }
  for (const [code, reason] of Object.entries(table)) assert.equal(poolReasonOf(coded(code)), reason, code)
})

test('poolReasonOf() names tls for the codes of certificates and handshakes', () => {
  const codes = [
    'SELF_SIGNED_CERT_IN_CHAIN',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    'CERT_HAS_EXPIRED',
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'ERR_SSL_WRONG_VERSION_NUMBER',
  ]
  for (const code of codes) assert.equal(poolReasonOf(coded(code)), 'tls', code)
})

const messages: Readonly<Record<string, Reason>> = {
  'timeout exceeded when trying to connect': 'pool_exhausted',
  'Connection terminated due to connection timeout': 'connect_timeout',
  'timeout expired': 'connect_timeout',
  'Connection terminated unexpectedly': 'connection_lost',
  'Cannot use a pool after calling end on the pool': 'connection_lost',
  'Query read timeout': 'timeout',
  'The server does not support SSL connections': 'tls',
  'driver has already been destroyed': 'connection_lost',
  'Driver not Connected': 'connection_lost',
}

test('poolReasonOf() knows whole messages of drivers that give no code, and no part of them', () => {
  for (const [message, reason] of Object.entries(messages)) {
    assert.equal(poolReasonOf(new Error(message)), reason, message)
    assert.equal(poolReasonOf(new Error(`${message}: db.internal`)), 'unknown', message)
  }
})

test('poolReasonOf() does not take the timeout of Knex or Sequelize for a full pool', () => {
  for (const name of ['KnexTimeoutError', 'SequelizeConnectionAcquireTimeoutError']) {
    assert.equal(poolReasonOf(named(name)), 'timeout', name)
  }
})

test('poolReasonOf() unwraps what ORMs wrap: cause, driverError, original, parent', () => {
  for (const key of ['cause', 'driverError', 'original', 'parent']) {
    assert.equal(poolReasonOf(wrapped(key, coded('57P01'))), 'shutting_down', key)
    assert.equal(poolReasonOf(wrapped('cause', wrapped(key, coded('57P01')))), 'shutting_down', key)
  }
})

test('poolReasonOf() knows the messages of node-postgres behind the query that Knex puts in front', () => {
  assert.equal(poolReasonOf(new Error('SELECT 1 - Connection terminated unexpectedly')), 'connection_lost')
  assert.equal(poolReasonOf(new Error('SELECT 1 - 2 - Query read timeout')), 'timeout')
  assert.equal(poolReasonOf(new Error('SELECT 1 - something else')), 'unknown')
})

test("poolReasonOf() knows the kinds and the original codes of Prisma's adapter, and its own codes", () => {
  assert.equal(poolReasonOf(wrapped('cause', { kind: 'DatabaseNotReachable', host: 'db' })), 'unreachable')
  assert.equal(poolReasonOf(wrapped('cause', { kind: 'postgres', originalCode: '57P03' })), 'starting_up')
  assert.equal(poolReasonOf(coded('P2024')), 'pool_exhausted')
  assert.equal(poolReasonOf(coded('P2002')), 'unknown')
})

test('poolReasonOf() stops at the outermost error that it knows', () => {
  assert.equal(
    poolReasonOf(Object.assign(coded('53300'), { cause: coded('ECONNREFUSED') })),
    'pool_exhausted',
  )
})

test('poolReasonOf() looks five levels deep, so an error that is its own cause is unknown', () => {
  const own = new Error('loop')
  own.cause = own
  assert.equal(poolReasonOf(own), 'unknown')
  let deep: unknown = coded('ECONNREFUSED')
  for (let level = 1; level < 5; level += 1) deep = wrapped('cause', deep)
  assert.equal(poolReasonOf(deep), 'unreachable')
  assert.equal(poolReasonOf(wrapped('cause', deep)), 'unknown')
})

test('poolReasonOf() returns unknown for anything else', () => {
  for (const thing of [
    undefined,
    null,
    'ECONNREFUSED',
    53300,
    [],
    {},
    () => {},
    coded('22012'),
    { name: 'constructor' },
  ]) {
    assert.equal(poolReasonOf(thing), 'unknown')
  }
})

test('poolReasonOf() returns unknown for an error that cannot be read', () => {
  for (const key of ['code', 'message', 'name', 'cause', 'parent']) {
    const error = Object.defineProperty(new Error('failed'), key, {
      get() {
        throw new Error(`no ${key}`)
      },
    })
    assert.equal(poolReasonOf(error), 'unknown', key)
    assert.equal(poolReasonOf(wrapped('cause', error)), 'unknown', key)
  }
  const { proxy, revoke } = Proxy.revocable(new Error('failed'), {})
  revoke()
  assert.equal(poolReasonOf(proxy), 'unknown')
})

test('poolReasonOf() knows what an aborted check waited for, and an unexpected result', () => {
  assert.equal(poolReasonOf(new GaveUp('pool_exhausted')), 'pool_exhausted')
  assert.equal(poolReasonOf(wrapped('cause', new GaveUp('connect_timeout'))), 'connect_timeout')
  assert.equal(poolReasonOf(new UnexpectedResult('not 1')), 'bad_result')
})
