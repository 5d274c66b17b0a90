// What monitoring is told at /metrics: one table of series, in Prometheus' text format.
import type { Reply } from '../health/reply.ts'
import { checkMsOf, sentences, type Verdict } from '../health/verdict.ts'
import { createHistogram, createTally, labelsOf, row, type Series, textOf } from './prometheus.ts'

export interface MetricsOptions {
  readonly version: string
  /** Every path that an answer can be counted under. */
  readonly paths: readonly string[]
  /** The status of an unhealthy answer. */
  readonly unhealthyStatus: number
  /** The wall clock. */
  readonly date: () => Date
  /** How many requests wait for their answer. */
  readonly inFlight: () => number
  /** How many sessions with the database have been opened. */
  readonly connectionsOpened: () => number
  /** What is shown below our own series. */
  readonly more: readonly Series[]
}

export interface Metrics {
  /** Counts a verdict. */
  observe(verdict: Verdict): void
  /** Counts an answer, milliseconds; allocates nothing, as it is on the hot path. */
  onAnswer(path: string, status: number, totalMs: number): void
  /** The page. It rests on no check, so it is there at once while the database hangs. */
  render(): Reply
  /** All that `render` can show. */
  readonly series: readonly Series[]
}

/** Makes the table: all counters at 0, and nothing yet that only a check can tell. */
export function createMetrics(options: MetricsOptions): Metrics {
  const verdicts = createTally(['healthy', ...Object.keys(sentences)])
  const checks = createHistogram()
  const statuses = new Set([200, 404, 405, 500, options.unhealthyStatus])
  const codes = [...statuses, 'other']
  const answers = new Map(
    options.paths.map(path => [path, { codes: createTally(codes), durations: createHistogram() }]),
  )
  let healthy: boolean | undefined
  let failures = 0
  let changes = 0
  let checkedAt: Date | undefined
  let healthyAt: Date | undefined

  const series: readonly Series[] = [
    row(
      'pghealth_up',
      'Whether the last check found the database healthy (1) or not (0); absent before the first check.',
      () => (healthy === undefined ? undefined : Number(healthy)),
    ),
    {
      name: 'pghealth_checks_total',
      type: 'counter',
      help: 'Verdicts. Requests share them; those whose time runs out while a check goes on share one more.',
      samples: () => verdicts.samples(result => labelsOf({ result })),
    },
    {
      name: 'pghealth_check_duration_seconds',
      type: 'histogram',
      help: 'How long checks took, with what it took to get a session where one had to.',
      samples: () => checks.samples({}),
    },
    row('pghealth_consecutive_failures', 'Unhealthy verdicts since the last healthy one.', () => failures),
    row(
      'pghealth_state_changes_total',
      'Changes between healthy and unhealthy; several within fifteen minutes are an intermittent failure.',
      () => changes,
    ),
    row(
      'pghealth_last_check_timestamp_seconds',
      'When the last verdict was reached; absent before the first.',
      () => secondsOf(checkedAt),
    ),
    row(
      'pghealth_last_healthy_timestamp_seconds',
      'When the last healthy verdict was reached; absent before the first.',
      () => secondsOf(healthyAt),
    ),
    row(
      'pghealth_connections_opened_total',
      'Sessions opened with the database; one a minute proves that new ones can be.',
      () => options.connectionsOpened(),
    ),
    {
      name: 'pghealth_http_requests_total',
      type: 'counter',
      help: 'Answers, by path and status.',
      samples: () =>
        [...answers].flatMap(([path, { codes }]) => codes.samples(code => labelsOf({ path, code }))),
    },
    {
      name: 'pghealth_http_request_duration_seconds',
      type: 'histogram',
      help: 'How long callers waited for their answer, by path.',
      samples: () => [...answers].flatMap(([path, { durations }]) => durations.samples({ path })),
    },
    row(
      'pghealth_http_requests_in_flight',
      'Requests that wait for their answer, this scrape included.',
      () => options.inFlight(),
    ),
    {
      name: 'pghealth_build_info',
      type: 'gauge',
      help: 'The version of pg-health.',
      samples: () => [[labelsOf({ version: options.version }), 1]],
    },
    ...options.more,
  ]
  return { observe, onAnswer, render, series }

  function observe(verdict: Verdict) {
    const before = healthy
    healthy = verdict.result === 'healthy'
    verdicts.count(verdict.result)
    const checkMs = checkMsOf(verdict)
    if (checkMs !== undefined) checks.observe(checkMs / 1_000)
    failures = healthy ? 0 : failures + 1
    if (before !== undefined && before !== healthy) changes += 1
    checkedAt = options.date()
    if (healthy) healthyAt = checkedAt
  }

  function onAnswer(path: string, status: number, totalMs: number) {
    const counters = answers.get(path)
    counters?.codes.count(status)
    counters?.durations.observe(totalMs / 1_000)
  }

  function render(): Reply {
    const body = series.map(textOf).join('')
    return { status: 200, contentType: 'text/plain; version=0.0.4; charset=utf-8', body }
  }
}

function secondsOf(date: Date | undefined): number | undefined {
  return date && date.getTime() / 1_000
}
