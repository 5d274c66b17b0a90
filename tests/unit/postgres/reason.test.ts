// Each raw failure, and the reason it gets.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codeOf } from '../../../lib/error.ts'
import { Expired } from '../../../lib/postgres/expiry.ts'
import { reasonOf, TlsFailure } from '../../../lib/postgres/reason.ts'

function codedError(code: unknown, message = 'connect to db.internal failed for user "app"') {
  return Object.assign(new Error(message), { code })
}

const table: Record<string, readonly string[]> = {
  pool_exhausted: ['53300'],
  unreachable: [
    'ECONNREFUSED',
    'ENOENT',
    'EACCES',
    'ENOTDIR',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'EHOSTDOWN',
    'ENETDOWN',
    'EPERM',
    'EADDRNOTAVAIL',
    'EINVAL',
    'ENOTFOUND',
    'EAI_AGAIN',
  ],
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
  tls: ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'],
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
  test(`reasonOf() gives ${reason}: ${codes.join(', ')}`, () => {
    for (const code of codes) assert.equal(reasonOf(codedError(code)), reason, code)
  })
}

test('reasonOf() believes the words of a pooler only where its code says nothing', () => {
  for (const code of ['08P01', '08006', 'XX000', '57000', '58000', '']) {
    assert.equal(reasonOf(codedError(code, 'query_wait_timeout')), 'pool_exhausted', code)
  }
  assert.equal(reasonOf(codedError('53200', 'query_wait_timeout')), 'unknown')
  assert.equal(reasonOf(codedError('28000', 'TLS connection required')), 'tls')
  assert.equal(reasonOf(codedError('57P03', 'query_wait_timeout')), 'starting_up')
})

test('reasonOf() tells a stopping server from a starting one by its words: both send 57P03', () => {
  assert.equal(reasonOf(codedError('57P03', 'the database system is shutting down')), 'shutting_down')
  assert.equal(reasonOf(codedError('57P03', 'the database system is starting up')), 'starting_up')
  assert.equal(
    reasonOf(codedError('57P03', 'the database system is not yet accepting connections')),
    'starting_up',
  )
})

test('reasonOf() knows what a wait that took too long was for', () => {
  assert.equal(reasonOf(new Expired('timeout')), 'timeout')
  assert.equal(reasonOf(new Expired('connect_timeout')), 'connect_timeout')
})

test('reasonOf() gives tls for a failed handshake, even with a code that means something else', () => {
  const codes = ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'ERR_TLS_CERT_ALTNAME_INVALID', 'ECONNREFUSED', undefined]
  for (const code of codes) assert.equal(reasonOf(new TlsFailure(codedError(code))), 'tls', code)
})

test('TlsFailure keeps the code for the log, and the cause', () => {
  const cause = codedError('CERT_HAS_EXPIRED')
  assert.equal(codeOf(new TlsFailure(cause)), 'CERT_HAS_EXPIRED')
  assert.equal(new TlsFailure(cause).cause, cause)
  assert.equal(new TlsFailure(codedError('not safe to log')).code, undefined)
})

test('reasonOf() gives unreachable for a refused name with two addresses, whose message is empty', () => {
  // As node:net makes it: the code of the first error, no message.
  const error = Object.assign(new AggregateError([codedError('ECONNREFUSED'), codedError('ECONNREFUSED')]), {
    code: 'ECONNREFUSED',
  })
  assert.equal(error.message, '')
  assert.equal(reasonOf(error), 'unreachable')
})

test('reasonOf() gives unknown, and codeOf() nothing, for anything else', () => {
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

test('codeOf() gives nothing that is not safe to log', () => {
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
