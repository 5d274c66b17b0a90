// Each raw failure, and the name it gets.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codeOf } from '../../../lib/error.ts'
import { Expired, reasonOf, TlsFailure } from '../../../lib/postgres/reason.ts'

function codedError(code: unknown, message = 'connect to db.internal failed for user "app"') {
  return Object.assign(new Error(message), { code })
}

const table: Record<string, readonly string[]> = {
  pool_exhausted: ['53300'],
  unreachable: ['ECONNREFUSED', 'ENOENT', 'EACCES', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
  connect_timeout: ['ETIMEDOUT'],
  connection_lost: [
    'CONNECTION_CLOSED',
    'CONNECTION_DESTROYED',
    'CONNECTION_ENDED',
    'ECONNRESET',
    'EPIPE',
    '08000',
    '08003',
    '08006',
    '08P01',
  ],
  starting_up: ['57P03'],
  shutting_down: ['57P01', '57P02'],
  auth_failed: ['28000', '28P01', 'SASL_SIGNATURE_MISMATCH', '42501'],
  no_database: ['3D000', '55000'],
  timeout: ['57014'],
  unknown: [
    '42704',
    'XX000',
    '53200',
    '57P05',
    '25006',
    'ERR_INVALID_URL',
    'ECONNABORTED',
    '10857',
    'A28000',
  ],
}

for (const [reason, codes] of Object.entries(table)) {
  test(`reasonOf() names ${reason}: ${codes.join(', ')}`, () => {
    for (const code of codes) assert.equal(reasonOf(codedError(code)), reason, code)
  })
}

test("reasonOf() takes a PgBouncer's word for it that there is no connection to give", () => {
  for (const message of ['query_wait_timeout', 'no more connections allowed (max_client_conn)']) {
    assert.equal(reasonOf(codedError('08P01', message)), 'pool_exhausted', message)
    assert.equal(reasonOf(codedError('XX000', message)), 'unknown', `${message}, but not from a pooler`)
  }
})

test('reasonOf() tells a server that stops from one that starts by its words, as they share 57P03', () => {
  assert.equal(reasonOf(codedError('57P03', 'the database system is shutting down')), 'shutting_down')
  assert.equal(reasonOf(codedError('57P03', 'the database system is starting up')), 'starting_up')
  assert.equal(
    reasonOf(codedError('57P03', 'the database system is not yet accepting connections')),
    'starting_up',
  )
})

test('reasonOf() knows what had been waited for when the time was up', () => {
  assert.equal(reasonOf(new Expired('timeout')), 'timeout')
  assert.equal(reasonOf(new Expired('connect_timeout')), 'connect_timeout')
})

test('reasonOf() names tls whatever the code of the handshake is, even one that means something else', () => {
  const codes = ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'ERR_TLS_CERT_ALTNAME_INVALID', 'ECONNREFUSED', undefined]
  for (const code of codes) assert.equal(reasonOf(new TlsFailure(codedError(code))), 'tls', code)
})

test('TlsFailure keeps the code for the log, and the cause', () => {
  const cause = codedError('CERT_HAS_EXPIRED')
  assert.equal(codeOf(new TlsFailure(cause)), 'CERT_HAS_EXPIRED')
  assert.equal(new TlsFailure(cause).cause, cause)
  assert.equal(new TlsFailure(codedError('not safe to log')).code, undefined)
})

test('reasonOf() names a refused name with two addresses unreachable, though its message is empty', () => {
  // As node:net makes it: the code of the first error, no message.
  const error = Object.assign(new AggregateError([codedError('ECONNREFUSED'), codedError('ECONNREFUSED')]), {
    code: 'ECONNREFUSED',
  })
  assert.equal(error.message, '')
  assert.equal(reasonOf(error), 'unreachable')
})

test('reasonOf() and codeOf() make nothing of what is no failure of this kind', () => {
  const things = [null, undefined, 'ECONNREFUSED', 53300, [], {}, new Error('ECONNREFUSED'), () => {}]
  for (const thing of [
    ...things,
    codedError(undefined),
    codedError(null),
    codedError(53300),
    codedError({}),
  ]) {
    assert.equal(reasonOf(thing), 'unknown')
    assert.equal(codeOf(thing), undefined)
  }
})

test('codeOf() gives codes of the system, of PostgreSQL and of the driver as they are', () => {
  for (const code of ['EPIPE', '57P01', '08006', 'CONNECTION_CLOSED', 'ERR_SSL_WRONG_VERSION_NUMBER']) {
    assert.equal(codeOf(codedError(code)), code)
    assert.equal(codeOf({ code }), code)
  }
})

test('codeOf() lets nothing through that is not safe to log', () => {
  const unsafe = [
    '',
    'E',
    'econnrefused',
    'db.internal',
    'DB.INTERNAL',
    'NO SUCH HOST',
    'postgres://app:hunter2@db/app',
    'ECONNREFUSED\n',
    '\u001b[31m',
    'É2000',
    'constructor',
    '__proto__',
    'X'.repeat(61),
  ]
  for (const code of unsafe) {
    assert.equal(codeOf(codedError(code)), undefined, code)
    assert.equal(reasonOf(codedError(code)), 'unknown', code)
  }
})
