// Remembers what checks found: states, ages, dates and buckets, also when a clock stands still or jumps.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import type { Reason, Verdict } from '../../../lib/health/verdict.ts'
import { createHistory, intermittent, natureOf, sustainedAfterMs } from '../../../lib/monitor/history.ts'

const noon = Date.parse('2026-11-22T12:00:00Z')

/** A history with the test's own clocks. The monotonic clock started long before the history. */
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

test('natureOf() says intermittent from three changes of state on, healthy or not', () => {
  for (const state of ['healthy', 'unhealthy'] as const) {
    assert.equal(natureOf(state, 0, 3), 'intermittent', state)
    assert.equal(natureOf(state, sustainedAfterMs - 1, 50), 'intermittent', state)
  }
})

test('natureOf() says recent of a failure at first, sustained after two minutes, nothing of health', () => {
  assert.equal(natureOf('unhealthy', 0, 0), 'recent')
  assert.equal(natureOf('unhealthy', sustainedAfterMs - 1, 2), 'recent')
  for (const changes of [0, 1, 2, 3, 50])
    assert.equal(natureOf('unhealthy', sustainedAfterMs, changes), 'sustained')
  for (const heldMs of [0, minutes(600)]) assert.equal(natureOf('healthy', heldMs, 2), undefined)
})

test('sustained and intermittent have the limits of the alerts in deploy/prometheus/rules.yml', () => {
  const { groups } = parse(
    readFileSync(new URL('../../../deploy/prometheus/rules.yml', import.meta.url), 'utf8'),
  )
  const rules: { alert: string; expr: string; for?: string }[] = groups[0].rules
  const rule = (name: string) => rules.find(({ alert }) => alert === name)
  const unhealthy = rule('PgHealthDatabaseUnhealthy')
  assert.deepEqual([unhealthy?.expr, unhealthy?.for], ['pghealth_up == 0', `${sustainedAfterMs / 60_000}m`])
  const { changes, withinMs } = intermittent
  const window = `${withinMs / 60_000}m`
  const flapping = rule('PgHealthDatabaseFlapping')?.expr
  assert.equal(flapping, `increase(pghealth_state_changes_total[${window}]) >= ${changes}`)
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

test('changes, newest first, have their date, their reasons in order, and how long they lasted', () => {
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
    'one outage is not flapping; the first result is no change',
  )
})

test('three changes are intermittent for fifteen minutes, unless a failure lasts two minutes', () => {
  const { after, clock, read } = stage()
  const natures = (...steps: number[]) =>
    steps.map(ms => {
      clock.ms += ms
      return read().nature
    })
  after(1, healthy)
  after(1, failed('timeout'))
  assert.deepEqual(natures(0, minutes(2) - 1, 1), ['recent', 'recent', 'sustained'])
  after(1, healthy)
  assert.deepEqual(natures(0), [undefined])
  after(1, failed('timeout'))
  assert.deepEqual(natures(0, minutes(2) - 1, 1), ['intermittent', 'intermittent', 'sustained'])
  after(0, healthy)
  assert.deepEqual(natures(0), ['intermittent'], 'four changes within five minutes')
  assert.deepEqual(natures(minutes(13) - 1_000, 1), ['intermittent', undefined])
})

test('only the last fifty changes are kept, of a hundred thousand', () => {
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

test('buckets are of the last hour; those without a check are left out', () => {
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
    'nothing of the hours before',
  )
})

test('a bucket has its slowest healthy check, and its median to 5 %, from 0.05 ms to 100 s', () => {
  for (const middle of [0.06, 0.9, 1, 7.77, 49, 100, 1_999, 99_000]) {
    const { after, read } = stage()
    for (const queryMs of [middle * 3, middle, middle / 3])
      after(0, { by: 'check', result: 'healthy', queryMs })
    // A refused connection after 0.2 ms is not a fast database: failures have no part in durations.
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

test('a bucket keeps its median when the next begins; the time to connect is part of a check', () => {
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

test('a wall clock set back moves every date by as much, and changes no age, order or bucket', () => {
  const { after, clock, read } = stage()
  after(1, healthy)
  after(30, failed('timeout'))
  clock.ms += 2_000
  const before = read()
  clock.jump = -minutes(600)
  const shifted = JSON.parse(JSON.stringify(before), (_, value) =>
    typeof value === 'string' && value.endsWith('Z')
      ? new Date(Date.parse(value) + clock.jump).toISOString()
      : value,
  )
  assert.deepEqual(JSON.parse(JSON.stringify(read())), shifted)
  assert.equal(read().last?.agoMs, 2_000)
  after(4, healthy)
  const { changes } = read()
  const held = changes.map(({ heldMs }) => heldMs)
  assert.deepEqual(held, [0, 6_000, 30_000])
  const times = changes.map(({ at }) => at.getTime())
  assert.deepEqual(times, times.toSorted().reverse())
})

test('after a suspend, in which the monotonic clock stood still, every age is that of the wall clock', () => {
  const { after, clock, read } = stage()
  after(1, failed('timeout'))
  after(60, healthy)
  clock.ms += 1_000
  const before = read()
  assert.deepEqual([before.last?.agoMs, before.uptimeMs, before.recentChanges], [1_000, 62_000, 1])
  clock.jump = 8 * minutes(60)
  const { at, uptimeMs, last, changes, recentChanges, buckets } = read()
  assert.equal(at.toISOString(), '2026-11-22T20:01:02.000Z')
  assert.equal(last?.agoMs, 8 * minutes(60) + 1_000)
  assert.equal(last?.at.toISOString(), '2026-11-22T12:01:01.000Z', 'what happened keeps its date')
  const held = changes.map(({ heldMs }) => heldMs)
  assert.deepEqual(held, [8 * minutes(60) + 1_000, 60_000])
  assert.deepEqual([uptimeMs, recentChanges, buckets], [8 * minutes(60) + 62_000, 0, []])
  after(2, healthy)
  assert.equal(read().last?.agoMs, 0)
  assert.deepEqual(
    read().buckets.map(bucket => bucket.at.toISOString()),
    ['2026-11-22T20:01:00.000Z'],
  )
})

test('of the two clocks the one that says more counts: a clock set back does not hide a suspend', () => {
  const { after, clock, read } = stage()
  after(1, healthy)
  clock.jump = -minutes(60)
  assert.equal(read().last?.agoMs, 0, 'never negative')
  clock.jump += minutes(30)
  assert.equal(read().last?.agoMs, minutes(30))
  clock.ms += 1_000
  assert.equal(read().last?.agoMs, minutes(30) + 1_000)
})

test('a wall clock that drifts does not change the dates of the past, nor any age', () => {
  const { after, clock, read } = stage()
  after(1, healthy)
  const [change] = read().changes
  for (const jump of [400, 800, -400]) {
    clock.jump = jump
    assert.deepEqual(read().changes, [change], String(jump))
  }
})
