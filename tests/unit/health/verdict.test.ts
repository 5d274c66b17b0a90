// The words a load balancer reads, byte for byte.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alive, internalError, methodNotAllowed, notFound, repliesOf } from '../../../lib/health/reply.ts'
import { sentences } from '../../../lib/health/verdict.ts'

// Written out a second time on purpose: monitors and dashboards search for these very words.
const promised = {
  pool_exhausted: 'connection pool exhausted',
  unreachable: 'database unreachable',
  connect_timeout: 'database connection timed out',
  connection_lost: 'database connection lost',
  starting_up: 'database is starting up',
  shutting_down: 'database is shutting down',
  auth_failed: 'database authentication failed',
  no_database: 'database does not exist',
  tls: 'database TLS verification failed',
  timeout: 'health check timed out',
  bad_result: 'unexpected query result',
  stopping: 'server is shutting down',
  unknown: 'database error',
  // These three only where the settings ask for a role.
  standby: 'database is a standby',
  read_only: 'database is read-only',
  primary: 'database is a primary',
}

test('sentences is a closed list: every reason has the promised sentence, and there is no other', () => {
  assert.deepEqual(sentences, promised)
})

test('repliesOf() answers healthy with 200 and the documented 45 bytes', () => {
  const { healthy } = repliesOf(503)
  assert.deepEqual(healthy, { status: 200, body: '{"status": "healthy","database": "connected"}' })
  assert.equal(Buffer.byteLength(healthy.body), 45)
})

test('repliesOf() answers each reason with 503 and its sentence, and has no reply beyond those', () => {
  const { healthy: _, ...unhealthy } = repliesOf(503)
  const expected = Object.entries(promised).map(([reason, sentence]) => [
    reason,
    { status: 503, body: `{"status": "unhealthy","error": "${sentence}"}` },
  ])
  assert.deepEqual(unhealthy, Object.fromEntries(expected))
})

test('repliesOf() gives every unhealthy reply the status it is told, and leaves the healthy one at 200', () => {
  for (const [result, { status }] of Object.entries(repliesOf(599))) {
    assert.equal(status, result === 'healthy' ? 200 : 599, result)
  }
})

test('no body but the healthy one contains the words that keyword monitors search for', () => {
  const { healthy, ...unhealthy } = repliesOf(200)
  assert.ok(healthy.body.includes('"status": "healthy"'))
  for (const { body } of [...Object.values(unhealthy), alive, notFound, methodNotAllowed, internalError]) {
    assert.ok(!body.includes('"status": "healthy"'), body)
  }
})

test('the replies that rest on no check have exactly these bytes', () => {
  const bytes = [alive, notFound, methodNotAllowed, internalError].map(
    ({ status, body }) => `${status} ${body}`,
  )
  assert.deepEqual(bytes, [
    '200 {"status": "alive"}',
    '404 {"error": "not found"}',
    '405 {"error": "method not allowed"}',
    '500 {"error": "internal error"}',
  ])
})

test('every body is JSON, and plain ASCII, so that its length is its content-length', () => {
  const replies = [...Object.values(repliesOf(503)), alive, notFound, methodNotAllowed, internalError]
  for (const { body } of replies) {
    assert.equal(typeof JSON.parse(body), 'object')
    assert.match(body, /^[\x20-\x7e]+$/)
  }
})
