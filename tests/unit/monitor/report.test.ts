// Which of ten thousand verdicts are worth a line.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../../lib/error.ts'
import type { Role, Verdict } from '../../../lib/health/verdict.ts'
import { createReport } from '../../../lib/monitor/report.ts'

/** A report on the test's own clock. Each logged event is [event, message, fields]. */
function stage() {
  const clock = { ms: 5_000 }
  const events: unknown[][] = []
  const report = createReport({
    log: (...event) => events.push(event),
    now: () => clock.ms,
    slowMs: 100,
  })
  return {
    events,
    after: (seconds: number, verdict: Verdict) => later(seconds, () => report.observe(verdict)),
    refusedAfter: (seconds: number, status: number) => later(seconds, () => report.onRefused(status)),
  }

  /** Does something `seconds` later. Returns what was logged for it. */
  function later(seconds: number, act: () => void) {
    clock.ms += seconds * 1_000
    const known = events.length
    act()
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
    ['healthy', 'healthy (first result)', { first: true, connectMs: 7, queryMs: 1.2 }],
  ])
  assert.deepEqual(stage().after(1, refused()), [
    [
      'unhealthy',
      'unhealthy: database unreachable (ECONNREFUSED) (first result)',
      { reason: 'unreachable', code: 'ECONNREFUSED', connectMs: 3.2, first: true },
    ],
  ])
})

test('createReport() logs every change, and how long the last state lasted', () => {
  const { after } = stage()
  after(1, healthy)
  after(10, healthy)
  assert.deepEqual(after(2.5, { by: 'deadline', result: 'timeout' }), [
    [
      'unhealthy',
      'unhealthy: health check timed out, after 12.5 s healthy',
      { reason: 'timeout', heldMs: 12_500 },
    ],
  ])
  assert.deepEqual(after(4, { by: 'deadline', result: 'timeout' }), [])
  assert.deepEqual(after(0.25, healthy), [
    ['healthy', 'healthy, after 4.3 s unhealthy', { heldMs: 4_250, queryMs: 1.2 }],
  ])
})

test('createReport() logs each reason once per outage', () => {
  const { after } = stage()
  const eventsOf = (verdict: Verdict) => after(1, verdict).map(([event, message]) => [event, message])
  after(1, refused())
  assert.deepEqual(eventsOf({ by: 'deadline', result: 'starting_up' }), [
    ['unhealthy', 'still unhealthy, but now: database is starting up'],
  ])
  assert.deepEqual(eventsOf(refused()), [])
  assert.deepEqual(eventsOf({ by: 'deadline', result: 'starting_up' }), [])
  assert.deepEqual(eventsOf(healthy), [['healthy', 'healthy, after 4.0 s unhealthy']])
  // In another outage the same reasons are new again.
  assert.deepEqual(eventsOf(refused()).length, 1)
  assert.deepEqual(eventsOf({ by: 'deadline', result: 'starting_up' }).length, 1)
})

test('createReport() logs a reminder once a minute during an outage, with the number of failed checks', () => {
  const { after } = stage()
  after(1, healthy)
  after(1, refused())
  const reminders: unknown[][] = []
  for (let second = 1; second <= 150; second += 1) reminders.push(...after(1, refused()))
  assert.deepEqual(reminders, [
    [
      'still_unhealthy',
      'still unhealthy after 60.0 s, 61 checks failed: database unreachable (ECONNREFUSED)',
      { reason: 'unreachable', code: 'ECONNREFUSED', connectMs: 3.2, forMs: 60_000, failures: 61 },
    ],
    [
      'still_unhealthy',
      'still unhealthy after 120.0 s, 121 checks failed: database unreachable (ECONNREFUSED)',
      { reason: 'unreachable', code: 'ECONNREFUSED', connectMs: 3.2, forMs: 120_000, failures: 121 },
    ],
  ])
})

test('createReport() starts each outage with a new count', () => {
  const { after } = stage()
  for (let second = 0; second < 30; second += 1) after(1, refused())
  after(1, healthy)
  after(1, refused())
  assert.deepEqual(after(59, refused()), [])
  assert.deepEqual(
    after(1, refused()).map(([, message]) => message),
    ['still unhealthy after 60.0 s, 3 checks failed: database unreachable (ECONNREFUSED)'],
  )
})

test('createReport() warns when a healthy check is slow and the one before was not', () => {
  const { after } = stage()
  const linesOf = (verdict: Verdict) => after(61, verdict).map(([event, message]) => [event, message])
  const slow = [['slow', 'slow: the check took 101 ms']]
  after(1, healthy)
  assert.deepEqual(linesOf({ by: 'check', result: 'healthy', queryMs: 100 }), [], 'at the limit')
  assert.deepEqual(linesOf({ by: 'check', result: 'healthy', queryMs: 100.6 }), slow)
  assert.deepEqual(linesOf({ by: 'check', result: 'healthy', queryMs: 500 }), [], 'still above')
  assert.deepEqual(linesOf(healthy), [], 'below again')
  assert.deepEqual(
    linesOf({ by: 'check', result: 'healthy', connectMs: 60.5, queryMs: 40.5 }),
    slow,
    'connecting and the query together',
  )
})

test('createReport() warns of slow checks at most once a minute, with their number', () => {
  const { after } = stage()
  const lines: unknown[][] = []
  after(1, healthy)
  for (let check = 0; check < 120; check += 1) {
    const queryMs = check % 2 === 0 && check < 40 ? 101 + check : 1
    lines.push(...after(0.5, { by: 'check', result: 'healthy', queryMs }))
  }
  lines.push(...after(0.5, refused()).filter(([event]) => event === 'slow'))
  assert.deepEqual(lines, [
    ['slow', 'slow: the check took 101 ms', { count: 1, queryMs: 101 }],
    [
      'slow',
      'slow: the check took 139 ms (19 times slow since the last such line)',
      { count: 19, queryMs: 139 },
    ],
  ])
})

test('onRefused() logs refused requests at most once a minute, with their number by status', () => {
  const { after, refusedAfter } = stage()
  assert.deepEqual(refusedAfter(1, 400), [
    ['requests_refused', 'HTTP requests refused: 1 with status 400', { count: 1, statuses: { 400: 1 } }],
  ])
  for (let second = 1; second < 60; second += 1)
    assert.deepEqual(refusedAfter(1, second % 10 ? 400 : 431), [])
  assert.deepEqual(refusedAfter(1, 408), [
    [
      'requests_refused',
      'HTTP requests refused: 54 with status 400, 5 with status 431, 1 with status 408',
      { count: 60, statuses: { 400: 54, 408: 1, 431: 5 } },
    ],
  ])
  after(1, healthy)
  refusedAfter(1, 400)
  assert.deepEqual(after(57, healthy), [])
  assert.equal(after(1, healthy)[0]?.[0], 'requests_refused', 'the last ones are logged by the next verdict')
  assert.deepEqual(after(600, healthy), [])
})

test('createReport() logs one line for ten thousand healthy checks', () => {
  const { after, events } = stage()
  for (let check = 0; check < 10_000; check += 1) after(1, healthy)
  assert.equal(events.length, 1)
})

test('createReport() never logs the text of an error: no password, host or user', () => {
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

test('createReport() says what is wrong with settings that became invalid after the start', () => {
  const error = new ConfigError(['PGPASSWORD_FILE names an empty file'])
  const [event] = stage().after(1, { by: 'check', result: 'unknown', error })
  assert.equal(event?.[1], 'unhealthy: database error (PGPASSWORD_FILE names an empty file) (first result)')
})

function serverError(code?: string, message = 'no more connections to "orders"'): Verdict['error'] {
  return Object.assign(new Error(message), { name: 'PostgresError' }, code && { code })
}

/** The message of `serverError`, without the name in it. */
const said = 'no more connections to …'

for (const [what, verdict, words, detail] of [
  [
    'without a known reason',
    { result: 'unknown', error: serverError('XX000') },
    `database error (XX000: ${said})`,
    said,
  ],
  ['without a SQLSTATE', { result: 'unknown', error: serverError() }, `database error (${said})`, said],
  [
    'with the SQLSTATE of PgBouncer',
    { result: 'connection_lost', error: serverError('08P01') },
    `database connection lost (08P01: ${said})`,
    said,
  ],
  [
    'with a known reason',
    { result: 'auth_failed', error: serverError('28P01') },
    'database authentication failed (28P01)',
    undefined,
  ],
  [
    'of the network',
    { result: 'connection_lost', error: serverError('ECONNRESET') },
    'database connection lost (ECONNRESET)',
    undefined,
  ],
] as [string, Omit<Verdict, 'by'>, string, string | undefined][]) {
  test(`createReport() logs ${detail ? 'what the server said of' : 'no server message for'} a failure ${what}`, () => {
    const { after } = stage()
    const [[, message, fields] = []] = after(1, { by: 'check', ...verdict })
    assert.equal(message, `unhealthy: ${words} (first result)`)
    assert.equal(Object(fields).detail, detail)
  })
}

test('createReport() logs the code alone when the server message has no known words', () => {
  const error = serverError('XX000', 'Verbindung nicht zugelassen')
  const [event] = stage().after(1, { by: 'check', result: 'unknown', error })
  assert.equal(event?.[1], 'unhealthy: database error (XX000) (first result)')
  assert.deepEqual(event?.[2], { reason: 'unknown', code: 'XX000', first: true })
})

test('createReport() logs a changed role of the server, at most once a minute', () => {
  const { after } = stage()
  const as = (role: Role): Verdict => ({ ...healthy, role })
  after(1, healthy)
  assert.deepEqual(after(1, as('standby')), [['role', 'database is a standby', { role: 'standby' }]])
  assert.deepEqual(after(1, as('standby')), [])
  // Another role within the minute, and a check that did not ask.
  assert.deepEqual(after(1, as('primary')), [])
  assert.deepEqual(after(60, healthy), [['role', 'database is a primary', { role: 'primary' }]])
  assert.deepEqual(after(60, as('primary')), [])
})

test('createReport() says why the role is unknown', () => {
  const { after } = stage()
  const roleError = Object.assign(new Error('permission denied for function secret'), { code: '42501' })
  after(1, healthy)
  assert.deepEqual(after(1, { ...healthy, roleReason: 'unknown', roleError }), [
    ['role', 'role unknown (42501)', { reason: 'unknown', code: '42501' }],
  ])
  assert.deepEqual(after(60, { ...healthy, roleReason: 'timeout' }), [
    ['role', 'role unknown', { reason: 'timeout' }],
  ])
})

test('createReport() says why the lag is unknown, and that it is known again', () => {
  const { after } = stage()
  const standby: Verdict = { ...healthy, role: 'standby' }
  after(1, healthy)
  assert.deepEqual(after(1, { ...standby, roleReason: 'timeout' }), [
    ['role', 'database is a standby, lag unknown', { role: 'standby', reason: 'timeout' }],
  ])
  // A check that asks for the role alone, and one that fails again.
  assert.deepEqual(after(60, standby), [])
  assert.deepEqual(after(60, { ...standby, roleReason: 'timeout' }), [])
  assert.deepEqual(after(60, { ...standby, lagBytes: 5 }), [
    ['role', 'database is a standby', { role: 'standby' }],
  ])
  assert.deepEqual(after(60, standby), [])
})
