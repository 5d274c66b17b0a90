// What is counted, and that every metric is shown.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sentences, type Verdict } from '../../../lib/health/verdict.ts'
import { createTable, samplesOf } from '../../support/metrics.ts'

/** The metrics on the test's own clock, and a function that reads them by name and labels. */
function stage(unhealthyStatus = 503) {
  const clock = { seconds: 1_000 }
  const table = createTable({ unhealthyStatus, more: [], date: () => new Date(clock.seconds * 1_000) })
  return { clock, ...table, shown: () => samplesOf(table.render().body) }
}

const healthy: Verdict = { by: 'check', result: 'healthy', queryMs: 1 }
const refused: Verdict = { by: 'check', result: 'unreachable', connectMs: 0.5 }

test('the page shows every metric of the table once the database has been healthy, and no other', () => {
  const { series, observe, render } = createTable()
  const unknown = [
    'pghealth_up',
    'pghealth_last_check_timestamp_seconds',
    'pghealth_last_healthy_timestamp_seconds',
  ]
  // Known from the second scrape.
  const lag = 'nodejs_eventloop_lag_seconds'
  const names = series.map(({ name }) => name)
  const shown = () => [...render().body.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name)
  assert.deepEqual(
    shown(),
    names.filter(name => name !== lag && !unknown.includes(name)),
  )
  observe(healthy)
  assert.deepEqual(
    shown(),
    names.filter(name => name !== lag),
  )
  assert.equal(new Set(names).size, names.length)
})

test('the page has the content type that Prometheus asks for', () => {
  const { status, contentType } = stage().render()
  assert.deepEqual([status, contentType], [200, 'text/plain; version=0.0.4; charset=utf-8'])
})

test('before the first check every result is 0, and pghealth_up is absent', () => {
  const shown = stage().shown()
  for (const result of ['healthy', ...Object.keys(sentences)]) {
    assert.equal(shown.get(`pghealth_checks_total{result="${result}"}`), 0, result)
  }
  const checks = [...shown.keys()].filter(key => key.startsWith('pghealth_checks_total'))
  assert.equal(checks.length, 1 + Object.keys(sentences).length)
  assert.equal(shown.has('pghealth_up'), false)
  assert.equal(shown.has('pghealth_last_check_timestamp_seconds'), false)
  assert.equal(shown.get('pghealth_state_changes_total'), 0)
  assert.equal(shown.get('pghealth_consecutive_failures'), 0)
})

test('observe() counts verdicts by result, and keeps the last one and its time', () => {
  const { clock, observe, shown } = stage()
  observe(healthy)
  clock.seconds = 1_010.5
  observe(refused)
  observe(refused)
  const down = shown()
  assert.equal(down.get('pghealth_up'), 0)
  assert.equal(down.get('pghealth_checks_total{result="healthy"}'), 1)
  assert.equal(down.get('pghealth_checks_total{result="unreachable"}'), 2)
  assert.equal(down.get('pghealth_consecutive_failures'), 2)
  assert.equal(down.get('pghealth_last_check_timestamp_seconds'), 1_010.5)
  assert.equal(down.get('pghealth_last_healthy_timestamp_seconds'), 1_000)
  clock.seconds = 1_011
  observe(healthy)
  const up = shown()
  assert.equal(up.get('pghealth_up'), 1)
  assert.equal(up.get('pghealth_consecutive_failures'), 0)
  assert.equal(up.get('pghealth_last_healthy_timestamp_seconds'), 1_011)
})

test('observe() counts changes between healthy and unhealthy, but not the first verdict or a new reason', () => {
  const { observe, shown } = stage()
  const changes = () => shown().get('pghealth_state_changes_total')
  const counted = [refused, { by: 'deadline', result: 'timeout' } as const, healthy, healthy, refused].map(
    verdict => {
      observe(verdict)
      return changes()
    },
  )
  assert.deepEqual(counted, [0, 0, 1, 1, 2])
})

test('observe() measures each check from connecting to its result, even if it failed', () => {
  const { observe, shown } = stage()
  observe({ by: 'check', result: 'healthy', connectMs: 40, queryMs: 20 })
  observe({ by: 'check', result: 'timeout', queryMs: 2_000 })
  observe({ by: 'check', result: 'unreachable', connectMs: 1 })
  const durations = shown()
  assert.equal(durations.get('pghealth_check_duration_seconds_count'), 3)
  assert.equal(durations.get('pghealth_check_duration_seconds_sum'), 2.061)
  assert.equal(durations.get('pghealth_check_duration_seconds_bucket{le="0.05"}'), 1)
  assert.equal(durations.get('pghealth_check_duration_seconds_bucket{le="0.1"}'), 2)
})

test('observe() counts the verdict of requests that timed out during a check, but does not measure it', () => {
  const { observe, shown } = stage()
  observe({ by: 'deadline', result: 'connect_timeout' })
  assert.equal(shown().get('pghealth_checks_total{result="connect_timeout"}'), 1)
  assert.equal(shown().get('pghealth_consecutive_failures'), 1)
  assert.equal(shown().get('pghealth_check_duration_seconds_count'), 0)
})

test('onAnswer() counts and measures responses by path; all paths and statuses are there from the start', () => {
  const { onAnswer, shown } = stage()
  const before = shown()
  onAnswer('/health', 200, 1.5)
  onAnswer('/health', 200, 120)
  onAnswer('/health', 503, 2_001)
  onAnswer('other', 404, 0.2)
  const counted = shown()
  assert.equal(counted.get('pghealth_http_requests_total{path="/health",code="200"}'), 2)
  assert.equal(counted.get('pghealth_http_requests_total{path="/health",code="503"}'), 1)
  assert.equal(counted.get('pghealth_http_requests_total{path="other",code="404"}'), 1)
  assert.equal(counted.get('pghealth_http_requests_total{path="/readyz",code="200"}'), 0)
  const durations = 'pghealth_http_request_duration_seconds'
  assert.equal(counted.get(`${durations}_sum{path="/health"}`), 2.1225)
  assert.equal(counted.get(`${durations}_bucket{path="/health",le="0.1"}`), 1)
  assert.equal(counted.get(`${durations}_count{path="other"}`), 1)
  assert.deepEqual([...counted.keys()], [...before.keys()])
})

test('onAnswer() counts the configured unhealthy status, and every unknown status as other', () => {
  const { onAnswer, shown } = stage(599)
  const before = shown()
  for (const status of [599, 599, 503, 418]) onAnswer('/health', status, 1)
  const counted = shown()
  assert.equal(counted.get('pghealth_http_requests_total{path="/health",code="599"}'), 2)
  assert.equal(counted.get('pghealth_http_requests_total{path="/health",code="other"}'), 2)
  assert.deepEqual([...counted.keys()], [...before.keys()])
})

test('onRefused() counts under the path other by status, and measures nothing', () => {
  const { onRefused, shown } = stage()
  const before = shown()
  for (const status of [400, 400, 408, 413, 431, 418]) onRefused(status)
  const counted = shown()
  const others = [400, 408, 413, 431, 'other'].map(code =>
    counted.get(`pghealth_http_requests_total{path="other",code="${code}"}`),
  )
  assert.deepEqual(others, [2, 1, 1, 1, 1])
  assert.equal(counted.get('pghealth_http_request_duration_seconds_count{path="other"}'), 0)
  assert.equal(counted.has('pghealth_http_requests_total{path="/health",code="400"}'), false)
  assert.deepEqual([...counted.keys()], [...before.keys()])
})

test('an unhealthy status of 200 makes no second row', () => {
  const { onAnswer, shown } = stage(200)
  onAnswer('/health', 200, 1)
  assert.equal(shown().get('pghealth_http_requests_total{path="/health",code="200"}'), 1)
})

test('requests in flight and opened sessions are read when the page is written', () => {
  const figures = { inFlight: 1, opened: 2 }
  const table = createTable({ inFlight: () => figures.inFlight, connectionsOpened: () => figures.opened })
  figures.inFlight = 7
  figures.opened = 5
  const shown = samplesOf(table.render().body)
  assert.equal(shown.get('pghealth_http_requests_in_flight'), 7)
  assert.equal(shown.get('pghealth_connections_opened_total'), 5)
  assert.equal(shown.get('pghealth_build_info{version="1.2.3"}'), 1)
})
