// What is remembered of the checks, for how long, and what a jump of the clock does to it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Reason, Verdict } from '../../../lib/health/verdict.ts'
import { createHistory, intermittent, natureOf } from '../../../lib/monitor/history.ts'

const noon = Date.parse('2026-11-22T12:00:00Z')

/** A history with the test's own clocks: the monotonic one began long before it did. */
function stage() {
  const clock = { ms: 5_000_000.25, jump: 0 }
  const startedAt = clock.ms
  const history = createHistory({
    now: () => clock.ms,
    date: () => new Date(noon + clock.ms - startedAt + clock.jump),
  })
  return { ...history, clock, after }

  function after(seconds: number, verdict: Verdict) {
    clock.ms += seconds * 1_000
    history.observe(verdict)
  }
}

const healthy: Verdict = { by: 'check', result: 'healthy', queryMs: 1 }
const failed = (result: Reason): Verdict => ({ by: 'deadline', result })
const minutes = (count: number) => count * 60_000

test('natureOf() calls failures intermittent from three changes of state within fifteen minutes', () => {
  assert.deepEqual(intermittent, { changes: 3, withinMs: minutes(15) })
  for (const state of ['healthy', 'unhealthy'] as const) {
    assert.equal(natureOf(state, [0, minutes(7), minutes(15)]), 'intermittent', state)
    assert.equal(natureOf(state, [1, 2, 3, 4, minutes(60)]), 'intermittent', state)
  }
})

test('natureOf() calls a failure with fewer changes sustained, and says nothing of health', () => {
  for (const ago of [[], [0], [0, minutes(15)], [0, minutes(15), minutes(15) + 1], [minutes(600)]]) {
    assert.equal(natureOf('unhealthy', ago), 'sustained', String(ago))
    assert.equal(natureOf('healthy', ago), undefined, String(ago))
  }
})

test('a history without a check knows neither a state nor a bucket', () => {
  const { clock, read } = stage()
  clock.ms += 1_500
  assert.deepEqual(read(), {
    at: new Date(noon + 1_500),
    uptimeMs: 1_500,
    recentChanges: 0,
    changes: [],
    buckets: [],
  })
})

test('changes say when, why, in which order the reasons came, and how long each state held, newest first', () => {
  const { after, clock, read } = stage()
  after(1, healthy)
  after(60, failed('unreachable'))
  after(1, failed('starting_up'))
  after(1, failed('unreachable'))
  after(1.5, healthy)
  after(1, healthy)
  clock.ms += 2_000
  const { changes, last, nature, recentChanges } = read()
  const at = (seconds: number) => new Date(noon + seconds * 1_000)
  assert.deepEqual(changes, [
    { at: at(64.5), state: 'healthy', reasons: [], heldMs: 3_000, first: false },
    { at: at(61), state: 'unhealthy', reasons: ['unreachable', 'starting_up'], heldMs: 3_500, first: false },
    { at: at(1), state: 'healthy', reasons: [], heldMs: 60_000, first: true },
  ])
  assert.deepEqual(last, { result: 'healthy', at: at(65.5), agoMs: 2_000, checkMs: 1 })
  assert.deepEqual(
    [nature, recentChanges],
    [undefined, 2],
    'one outage is no flap; the first result no change',
  )
})

test('failures are intermittent for fifteen minutes after the third change, and sustained when one stays', () => {
  const { after, clock, read } = stage()
  after(1, healthy)
  after(1, failed('timeout'))
  assert.equal(read().nature, 'sustained')
  after(1, healthy)
  assert.equal(read().nature, undefined)
  after(1, failed('timeout'))
  assert.equal(read().nature, 'intermittent')
  clock.ms += minutes(15) - 2_000
  assert.equal(read().nature, 'intermittent')
  clock.ms += 1
  assert.equal(read().nature, 'sustained')
})

test('fifty changes are kept, and a hundred thousand take no more room', () => {
  const { after, read } = stage()
  for (let round = 0; round < 50_000; round += 1) {
    after(1, healthy)
    after(1, failed(round % 2 ? 'timeout' : 'unreachable'))
  }
  const { changes, buckets, nature } = read()
  assert.equal(changes.length, 50)
  assert.equal(buckets.length, 360)
  assert.equal(nature, 'intermittent')
  assert.ok(JSON.stringify(read()).length < 64 * 1024)
})

test('a bucket of ten seconds counts its checks, and its failures by reason', () => {
  const { after, read } = stage()
  after(0, healthy)
  after(9.9, failed('timeout'))
  after(0.2, failed('tls'))
  after(0, failed('tls'))
  assert.deepEqual(
    read().buckets.map(({ checks, failures, at }) => ({ checks, failures, at: at.toISOString() })),
    [
      { checks: 2, failures: { timeout: 1 }, at: '2026-11-22T12:00:00.000Z' },
      { checks: 2, failures: { tls: 2 }, at: '2026-11-22T12:00:10.000Z' },
    ],
  )
})

test('buckets are of the last hour, and those that nobody asked in are left out', () => {
  const { after, clock, read } = stage()
  const indexes = () => read().buckets.map(({ index }) => index)
  after(0, healthy)
  after(1_800, failed('timeout'))
  after(1_799, healthy)
  assert.deepEqual(indexes(), [0, 180, 359])
  clock.ms += 1_000
  assert.deepEqual(indexes(), [180, 359])
  clock.ms += 10 * 3_600_000
  assert.deepEqual(indexes(), [])
  after(0, failed('tls'))
  assert.deepEqual(
    read().buckets.map(({ index, checks, failures }) => [index, checks, failures]),
    [[3_960, 1, { tls: 1 }]],
    'what the slot held hours ago is gone',
  )
})

test('a bucket knows its slowest healthy check, and its median to 5 %, from 0.05 ms to 100 s', () => {
  for (const middle of [0.06, 0.9, 1, 7.77, 49, 100, 1_999, 99_000]) {
    const { after, read } = stage()
    for (const queryMs of [middle * 3, middle, middle / 3])
      after(0, { by: 'check', result: 'healthy', queryMs })
    // Failures are counted, but a refusal in 0.2 ms is not a fast database.
    for (let count = 0; count < 9; count += 1)
      after(0, { by: 'check', result: 'unreachable', connectMs: 0.2 })
    const [bucket] = read().buckets
    assert.ok(bucket?.medianMs !== undefined && bucket.slowestMs !== undefined)
    assert.ok(
      Math.abs(bucket.medianMs / middle - 1) < 0.05 + 0.005 / middle,
      `${bucket.medianMs} for ${middle}`,
    )
    assert.ok(Math.abs(bucket.slowestMs - middle * 3) < 0.01)
  }
})

test('a bucket keeps its median when the next has begun, and connecting counts as part of the check', () => {
  const { after, read } = stage()
  after(0, { by: 'check', result: 'healthy', connectMs: 4, queryMs: 4 })
  after(10, { by: 'check', result: 'healthy', queryMs: 800 })
  after(10, failed('timeout'))
  const medians = read().buckets.map(({ medianMs }) => medianMs)
  assert.deepEqual(medians.length, 3)
  assert.ok(Math.abs((medians[0] ?? 0) - 8) < 0.4)
  assert.ok(Math.abs((medians[1] ?? 0) - 800) < 40)
  assert.equal(medians[2], undefined)
})

for (const [name, jump] of Object.entries({
  back: -minutes(600),
  forth: minutes(600),
  'an hour': minutes(60),
})) {
  test(`a wall clock that jumps (${name}) moves every label by as much, and no duration, order or bucket`, () => {
    const { after, clock, read } = stage()
    after(1, healthy)
    after(30, failed('timeout'))
    const before = read()
    clock.jump = jump
    const moved = read()
    const shifted = JSON.parse(JSON.stringify(before), (_, value) =>
      typeof value === 'string' && value.endsWith('Z')
        ? new Date(Date.parse(value) + jump).toISOString()
        : value,
    )
    assert.deepEqual(JSON.parse(JSON.stringify(moved)), shifted)
    after(4, healthy)
    const { changes } = read()
    assert.deepEqual(
      changes.map(({ heldMs }) => heldMs),
      [0, 4_000, 30_000],
    )
    const times = changes.map(({ at }) => at.getTime())
    assert.deepEqual(times, times.toSorted().reverse())
  })
}

test('a wall clock that drifts does not move the label of what is past', () => {
  const { after, clock, read } = stage()
  after(1, healthy)
  const [change] = read().changes
  clock.jump = 400
  assert.deepEqual(read().changes[0]?.at, change?.at)
})
