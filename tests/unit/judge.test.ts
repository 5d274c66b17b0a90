// The judge of the chaos run is fed lies, one for each promise, and objects to every one of them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sentences } from '../../lib/health/verdict.ts'
import { faults } from '../chaos/faults.ts'
import {
  attemptSpacingMs,
  type Exchange,
  type Fault,
  judge,
  lagMs,
  type Recording,
  type SeenConnection,
  type SeenStatement,
} from '../chaos/judge.ts'
import { createSchedule } from '../chaos/schedule.ts'
import { checkQuery } from '../support/proxy.ts'

/** An honest recording: one connection, warmed, and one exchange from 1,000 to 1,010 with its statement inside. */
const honest: Recording = {
  exchanges: [exchange(1_000, 1_010, 'healthy')],
  statements: [statement(900, 901), statement(1_003, 1_005)],
  connections: [{ openedAt: 890, closedAt: undefined }],
  faults: [],
  pauses: [],
  timeoutMs: 1_000,
  connectTimeoutMs: 2_000,
}

function exchange(sentAt: number, answeredAt: number, answer: string, path = '/health'): Exchange {
  return { client: 'one', path, sentAt, answeredAt, answer }
}

function statement(beganAt: number, endedAt: number | undefined, connection = 0): SeenStatement {
  return { text: checkQuery, beganAt, endedAt, answered: endedAt !== undefined, value: '1', connection }
}

function connection(openedAt: number, closedAt?: number): SeenConnection {
  return { openedAt, closedAt }
}

function fault(from: number, until: number, explains: Fault['explains']): Fault {
  return { name: 'a fault', from, until, explains }
}

/** The promises that the judge finds broken in the honest recording with `changes`. */
function broken(changes: Partial<Recording>): string[] {
  return judge({ ...honest, ...changes }).map(({ promise }) => promise)
}

test('an honest recording passes', () => {
  assert.deepEqual(broken({}), [])
})

test('fit: healthy is wrong if no server took writes at any moment of the exchange', () => {
  assert.deepEqual(broken({ unfit: [{ from: 1_000, until: 1_010 }] }), ['fit'])
  assert.deepEqual(broken({ unfit: [{ from: 1_000, until: 1_009 }] }), [])
  assert.deepEqual(broken({ unfit: [{ from: 1_001, until: 1_010 }] }), [])
})

test('several hosts: an attempt may connect to each of them, and the next one keeps its distance', () => {
  const told = (times: readonly number[], hosts: number) =>
    broken({ connections: times.map(time => connection(time, time + 1)), hosts })
  assert.deepEqual(told([890, 895, 990, 995], 2), [])
  assert.ok(told([890, 895, 990, 995], 1).includes('at a measured pace'))
  // The first host of the first attempt was slow to end its session. The attempts began 100 ms apart.
  assert.deepEqual(told([890, 985, 990, 995], 2), [])
  assert.ok(told([890, 895, 900, 905], 2).includes('at a measured pace'))
})

test('said: a query that no check sends is wrong, and each campaign says what may be sent', () => {
  const asked = { ...statement(1_003, 1_005), text: 'SELECT 2' }
  assert.deepEqual(broken({ statements: [asked] }), ['said'])
  assert.deepEqual(broken({ statements: [asked], queries: ['SELECT 2'] }), [])
})

test('fresh: healthy needs a statement that began and was answered within the exchange', () => {
  assert.deepEqual(broken({ statements: [] }), ['fresh'])
  assert.deepEqual(broken({ statements: [statement(999, 1_005)] }), ['fresh'], 'began before it')
  assert.deepEqual(broken({ statements: [statement(1_003, 1_011)] }), ['fresh'], 'ended after it')
  assert.deepEqual(broken({ statements: [statement(1_003, undefined)] }), ['fresh'], 'has not ended')
  const cut = { ...statement(1_003, 1_005), answered: false }
  assert.deepEqual(broken({ statements: [cut] }), ['fresh'], 'ended with its connection')
})

test('fresh: what a campaign says that an answer needs, a query must have returned within the exchange', () => {
  const needs = { healthy: 'primary', standby: 'standby' }
  const faults = [fault(900, 1_100, ['standby'])]
  const told = (value: string, answer: string) => {
    const statements = [statement(900, 901), { ...statement(1_003, 1_005), value }]
    return broken({ needs, faults, statements, exchanges: [exchange(1_000, 1_010, answer)] })
  }
  assert.deepEqual(told('primary', 'healthy'), [])
  assert.deepEqual(told('standby', 'healthy'), ['fresh'])
  assert.deepEqual(told('standby', 'standby'), [])
  assert.deepEqual(told('primary', 'standby'), ['fresh'])
})

test('fresh: one statement serves all whose exchanges hold it, and nobody else', () => {
  const exchanges = [
    exchange(1_000, 1_010, 'healthy'),
    exchange(1_002, 1_006, 'healthy'),
    exchange(1_004, 1_010, 'healthy'),
  ]
  const objections = judge({ ...honest, exchanges })
  assert.deepEqual(
    objections.map(({ seen }) => seen),
    [exchanges[2]],
  )
})

test('fresh: a statement that never ends hides none of those that come after it', () => {
  const statements = [
    statement(1_000, 1_001),
    { ...statement(1_002, 1_003), answered: false },
    statement(1_004, 1_006),
  ]
  assert.deepEqual(broken({ statements }), [])
})

test('fresh: no fault excuses a healthy answer without a statement', () => {
  const faults = [fault(0, 5_000, ['timeout'])]
  assert.deepEqual(broken({ faults, statements: [] }), ['fresh'])
})

test('healed: unhealthy needs a fault that overlaps the exchange and says what was said', () => {
  const exchanges = [exchange(1_000, 1_010, 'unreachable')]
  assert.deepEqual(broken({ exchanges }), ['healed'], 'no fault')
  const before = [fault(500, 999, ['unreachable'])]
  assert.deepEqual(broken({ exchanges, faults: before }), ['healed'], 'over before it')
  const after = [fault(1_011, 2_000, ['unreachable'])]
  assert.deepEqual(broken({ exchanges, faults: after }), ['healed'], 'not yet there')
  assert.deepEqual(broken({ exchanges, faults: [fault(500, 1_001, ['timeout'])] }), ['healed'], 'another one')
  assert.deepEqual(broken({ exchanges, faults: [fault(500, 1_001, [])] }), ['healed'], 'not to be noticed')
  assert.deepEqual(broken({ exchanges, faults: [fault(500, 1_001, ['unreachable'])] }), [])
})

test('healed, but for a login that a fault held up: who waits on it may be told that the time was up', () => {
  const held = { faults: [fault(500, 600, [])], statements: [], connections: [connection(550, 2_550)] }
  const told = (sentAt: number, answer: string) => ({
    ...held,
    exchanges: [exchange(sentAt, sentAt + 900, answer)],
  })
  assert.deepEqual(broken(told(1_000, 'connect_timeout')), [])
  assert.deepEqual(broken(told(1_000, 'timeout')), [])
  assert.deepEqual(broken(told(1_000, 'unreachable')), ['healed'], 'another reason')
  assert.deepEqual(broken(told(2_000, 'connect_timeout')), [])
  assert.deepEqual(broken(told(2_100, 'connect_timeout')), ['healed'], 'given up when half the time was left')
  const later = [connection(650, 2_400)]
  assert.deepEqual(
    broken({ ...told(1_000, 'connect_timeout'), connections: later }),
    ['healed'],
    'no fault then',
  )
  const early = { ...told(1_000, 'timeout'), statements: [statement(1_390, 1_400)] }
  assert.deepEqual(broken(early), ['healed'], 'it came through when half the time was left')
  const late = { ...told(1_000, 'timeout'), statements: [statement(1_590, 1_600)] }
  assert.deepEqual(broken(late), [], 'it came through later than that')
})

test('in time: an answer after the deadline, unless nobody ran', () => {
  const faults = [fault(1_000, 9_000, ['timeout'])]
  const latest = 1_000 + honest.timeoutMs + lagMs
  assert.deepEqual(broken({ faults, exchanges: [exchange(1_000, latest, 'timeout')] }), [])
  const exchanges = [exchange(1_000, latest + 1, 'timeout')]
  assert.deepEqual(broken({ faults, exchanges }), ['in time'])
  assert.deepEqual(broken({ faults, exchanges, pauses: [{ from: 1_100, until: 1_200 }] }), [])
  assert.deepEqual(broken({ faults, exchanges, pauses: [{ from: 5_000, until: 6_000 }] }), ['in time'])
})

test('in time: an attempt to connect outlives its answer, but not forever', () => {
  const connections = [connection(890, 950), connection(2_000, 4_000 + lagMs + 1)]
  assert.deepEqual(broken({ connections }), ['in time'])
})

test('said: an answer that this program does not give, a connection that breaks, a statement that nobody ordered', () => {
  assert.deepEqual(broken({ exchanges: [exchange(1_000, 1_010, '200 {"status":"healthy"}')] }), ['said'])
  assert.deepEqual(broken({ exchanges: [exchange(1_000, 1_010, 'no answer: ECONNRESET')] }), ['said'])
  assert.deepEqual(broken({ exchanges: [exchange(1_000, 1_010, 'toString')] }), ['said'])
  const statements = [{ ...statement(900, 901), text: 'SELECT 2' }, statement(1_003, 1_005)]
  assert.deepEqual(broken({ statements }), ['said'])
})

test('alive: /livez is, whatever the fault', () => {
  const faults = [fault(0, 5_000, ['unreachable'])]
  assert.deepEqual(broken({ faults, exchanges: [exchange(1_000, 1_010, 'alive', '/livez')] }), [])
  assert.deepEqual(broken({ faults, exchanges: [exchange(1_000, 1_010, 'unreachable', '/livez')] }), [
    'alive',
  ])
})

test('one at a time: two statements, or two connections, that are open at once', () => {
  const statements = [statement(1_000, 1_100), statement(1_003, 1_005)]
  assert.deepEqual(broken({ statements }), ['one at a time'])
  const apart = [{ ...statement(900, undefined), endedAt: undefined }, statement(1_003, 1_005, 1)]
  const inTurn = [connection(500, 950), connection(960)]
  assert.deepEqual(
    broken({ statements: apart, connections: inTurn }),
    [],
    'the first ended with its connection',
  )
  const inside = [connection(100, 2_000), connection(300, 400), connection(1_000, 1_100)]
  assert.deepEqual(broken({ connections: inside }), ['one at a time', 'one at a time'])
})

test('at a measured pace: attempts to connect that come too fast, unless nobody ran to see it', () => {
  const connections = [connection(800, 810), connection(830)]
  assert.deepEqual(broken({ connections }), ['at a measured pace'])
  assert.deepEqual(broken({ connections: [connection(800, 810), connection(800 + attemptSpacingMs)] }), [])
  assert.deepEqual(broken({ connections, pauses: [{ from: 700, until: 800 }] }), [])
})

test('createSchedule(): the same seed gives the same faults, another seed others', () => {
  const draw = (seed: number) => {
    const schedule = createSchedule(seed)
    return Array.from({ length: 100 }, () => schedule.next().value)
  }
  assert.deepEqual(draw(7), draw(7))
  assert.notDeepEqual(draw(7), draw(8))
})

test('createSchedule(): every round has all faults, and two at once are one of the database and one of the network', () => {
  const schedule = createSchedule(1)
  const drawn: string[] = []
  let pairs = 0
  while (drawn.length < faults.length * 10) {
    const step = schedule.next().value
    drawn.push(...step.faults.map(({ name }) => name))
    if (step.faults.length === 1) continue
    pairs += 1
    assert.deepEqual(step.faults.map(({ layer }) => layer).toSorted(), ['database', 'network'])
  }
  assert.ok(pairs > 0)
  for (let from = 0; from < drawn.length; from += faults.length) {
    assert.deepEqual(
      drawn.slice(from, from + faults.length).toSorted(),
      faults.map(({ name }) => name).toSorted(),
    )
  }
})

test('every reason that can come of PostgreSQL itself, a pooler and a lie left out, is one that some fault brings about', () => {
  const explained = new Set(faults.flatMap(({ explains }) => explains))
  const roles = ['primary', 'read_only', 'standby']
  const elsewhere = ['tls', 'bad_result', 'stopping', 'unknown', ...roles]
  const missing = Object.keys(sentences).filter(reason => !(explained as Set<string>).has(reason))
  assert.deepEqual(missing.toSorted(), elsewhere.toSorted())
})
