// Which of ten thousand verdicts are worth a line.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../../lib/error.ts'

import type { Verdict } from '../../../lib/health/verdict.ts'
import { createReport } from '../../../lib/monitor/report.ts'

/** A report with the test's own clock; each logged event as [level, event, message, fields]. */
function stage() {
  const clock = { ms: 5_000 }
  const events: unknown[][] = []
  const report = createReport({ log: (...event) => events.push(event), now: () => clock.ms, slowMs: 100 })
  return { report, events, after }

  /** A verdict that comes `seconds` later; what was logged for it. */
  function after(seconds: number, verdict: Verdict) {
    clock.ms += seconds * 1_000
    const known = events.length
    report(verdict)
    return events.slice(known)
  }
}

const healthy: Verdict = { by: 'check', result: 'healthy', queryMs: 1.2345 }

function refused(code = 'ECONNREFUSED'): Verdict {
  return {
    by: 'check',
    result: 'unreachable',
    connectMs: 3.21,
    error: Object.assign(new Error('no'), { code }),
  }
}

test('createReport() logs the first result, healthy or not, with durations to a tenth', () => {
  assert.deepEqual(stage().after(1, { ...healthy, connectMs: 7 }), [
    ['info', 'healthy', 'healthy (first result)', { first: true, connectMs: 7, queryMs: 1.2 }],
  ])
  assert.deepEqual(stage().after(1, refused()), [
    [
      'error',
      'unhealthy',
      'unhealthy: database unreachable (ECONNREFUSED) (first result)',
      { reason: 'unreachable', code: 'ECONNREFUSED', connectMs: 3.2, first: true },
    ],
  ])
})

test('createReport() logs every change, and how long the last state held', () => {
  const { after } = stage()
  after(1, healthy)
  after(10, healthy)
  assert.deepEqual(after(2.5, { by: 'deadline', result: 'timeout' }), [
    [
      'error',
      'unhealthy',
      'unhealthy: health check timed out, after 12.5 s healthy',
      { reason: 'timeout', heldMs: 12_500 },
    ],
  ])
  assert.deepEqual(after(4, { by: 'deadline', result: 'timeout' }), [])
  assert.deepEqual(after(0.25, healthy), [
    ['info', 'healthy', 'healthy, after 4.3 s unhealthy', { heldMs: 4_250, queryMs: 1.2 }],
  ])
})

test('createReport() logs a reason the first time an outage shows it, and not when it comes back', () => {
  const { after } = stage()
  const eventsOf = (verdict: Verdict) => after(1, verdict).map(([, event, message]) => [event, message])
  after(1, refused())
  assert.deepEqual(eventsOf({ by: 'deadline', result: 'starting_up' }), [
    ['unhealthy', 'still unhealthy, but now: database is starting up'],
  ])
  assert.deepEqual(eventsOf(refused()), [])
  assert.deepEqual(eventsOf({ by: 'deadline', result: 'starting_up' }), [])
  assert.deepEqual(eventsOf(healthy), [['healthy', 'healthy, after 4.0 s unhealthy']])
  // Another outage: the same reason is news again.
  assert.deepEqual(eventsOf(refused()).length, 1)
  assert.deepEqual(eventsOf({ by: 'deadline', result: 'starting_up' }).length, 1)
})

test('createReport() reminds once a minute of an outage, and counts its failures', () => {
  const { after } = stage()
  after(1, healthy)
  after(1, refused())
  const reminders: unknown[][] = []
  for (let second = 1; second <= 150; second += 1) reminders.push(...after(1, refused()))
  assert.deepEqual(reminders, [
    [
      'error',
      'still_unhealthy',
      'still unhealthy after 60.0 s, 61 checks failed: database unreachable (ECONNREFUSED)',
      { reason: 'unreachable', code: 'ECONNREFUSED', connectMs: 3.2, forMs: 60_000, failures: 61 },
    ],
    [
      'error',
      'still_unhealthy',
      'still unhealthy after 120.0 s, 121 checks failed: database unreachable (ECONNREFUSED)',
      { reason: 'unreachable', code: 'ECONNREFUSED', connectMs: 3.2, forMs: 120_000, failures: 121 },
    ],
  ])
})

test('createReport() counts each outage anew', () => {
  const { after } = stage()
  for (let second = 0; second < 30; second += 1) after(1, refused())
  after(1, healthy)
  after(1, refused())
  assert.deepEqual(after(59, refused()), [])
  assert.deepEqual(
    after(1, refused()).map(([, , message]) => message),
    ['still unhealthy after 60.0 s, 3 checks failed: database unreachable (ECONNREFUSED)'],
  )
})

test('createReport() warns once each time a healthy check crosses the limit', () => {
  const { after } = stage()
  const eventsOf = (verdict: Verdict) =>
    after(1, verdict).map(([level, event, message]) => [level, event, message])
  const slow = [['warn', 'slow', 'slow: the check took 101 ms']]
  after(1, healthy)
  assert.deepEqual(eventsOf({ by: 'check', result: 'healthy', queryMs: 100 }), [], 'at the limit')
  assert.deepEqual(eventsOf({ by: 'check', result: 'healthy', queryMs: 100.6 }), slow)
  assert.deepEqual(eventsOf({ by: 'check', result: 'healthy', queryMs: 500 }), [], 'still above')
  assert.deepEqual(eventsOf(healthy), [], 'below again')
  assert.deepEqual(
    eventsOf({ by: 'check', result: 'healthy', connectMs: 60.5, queryMs: 40.5 }),
    slow,
    'both together',
  )
})

test('createReport() makes one line of ten thousand healthy checks', () => {
  const { after, events } = stage()
  for (let check = 0; check < 10_000; check += 1) after(1, healthy)
  assert.equal(events.length, 1)
})

test('createReport() never logs what an error says: no password, host or user, whatever becomes of it', () => {
  const { after, events } = stage()
  const secrets = {
    input: 'postgres://app:hunter2@db.internal/x',
    address: '10.1.2.3',
    hostname: 'db.internal',
  }
  const error = Object.assign(new Error('user app, password hunter2, db.internal (10.1.2.3)'), {
    ...secrets,
    cause: new Error('hunter2'),
  })
  after(1, { by: 'check', result: 'unknown', error: Object.assign(error, { code: 'ERR_INVALID_URL' }) })
  after(1, {
    by: 'check',
    result: 'auth_failed',
    error: Object.assign(error, { code: 'no db.internal for app:hunter2' }),
  })
  after(60, { by: 'check', result: 'auth_failed', error })
  after(1, healthy)
  after(1, { by: 'check', result: 'unknown', error: 'hunter2' })
  assert.equal(events.length, 5)
  assert.doesNotMatch(JSON.stringify(events), /hunter2|internal|10\.1\.2\.3|app/)
  assert.match(JSON.stringify(events), /ERR_INVALID_URL/)
})

test('createReport() says what is wrong with settings that went bad while they were read again', () => {
  const error = new ConfigError(['PGPASSWORD_FILE names an empty file'])
  const [event] = stage().after(1, { by: 'check', result: 'unknown', error })
  assert.equal(event?.[2], 'unhealthy: database error (PGPASSWORD_FILE names an empty file) (first result)')
})
