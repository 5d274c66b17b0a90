// The metrics at /metrics: one table, in Prometheus' text format.
import { otherPath, type Reply } from '../health/reply.ts'
import { checkMsOf, sentences, type Verdict } from '../health/verdict.ts'
import { createHistogram, createTally, labelsOf, row, type Series, textOf } from './prometheus.ts'

export interface CountedPath {
  readonly path: string
  /** The statuses of a no on this path, if not that of an unhealthy response. */
  readonly statuses?: readonly number[]
}

export interface MetricsOptions {
  readonly version: string
  /** Every path that a response can be counted under. */
  readonly paths: readonly CountedPath[]
  /** The status of an unhealthy response. */
  readonly unhealthyStatus: number
  /** Wall clock. */
  readonly date: () => Date
  /** How many requests wait for their response. */
  readonly inFlight: () => number
  /** How many sessions with the database have been opened. Undefined if the pool belongs to a service. */
  readonly connectionsOpened: () => number | undefined
  /** Metrics that follow our own. */
  readonly more: readonly Series[]
}

export interface Metrics {
  /** Counts a verdict. */
  observe(verdict: Verdict): void
  /** Counts a response, and how long the client waited for it (milliseconds). */
  onAnswer(path: string, status: number, totalMs: number): void
  /** Counts a request that the HTTP parser refused, by the status that its client got. */
  onRefused(status: number): void
  /** Writes the page. It runs no check, so it is there immediately even while the database hangs. */
  render(): Reply
  /** Every metric that `render` can show. */
  readonly series: readonly Series[]
}

/** Makes the metrics. All counters are at 0. What only a check can tell is absent. */
export function createMetrics(options: MetricsOptions): Metrics {
  const checks = createChecks(options.date)
  const requests = createRequests(options)
  const series: readonly Series[] = [
    ...seriesOf(checks),
    row(
      'pghealth_connections_opened_total',
      'Sessions opened with the database. A session that reaches HEALTH_SESSION_MAX_AGE_MS is replaced, so this grows even while all is well.',
      options.connectionsOpened,
    ),
    ...requests.series,
    {
      name: 'pghealth_build_info',
      type: 'gauge',
      help: 'Always 1. The label has the version of pg-health.',
      samples: () => [[labelsOf({ version: options.version }), 1]],
    },
    ...options.more,
  ]
  const { onAnswer, onRefused } = requests
  return { observe: checks.observe, onAnswer, onRefused, render, series }

  function render(): Reply {
    const body = series.map(textOf).join('')
    return { status: 200, contentType: 'text/plain; version=0.0.4; charset=utf-8', body }
  }
}

/** Counts verdicts. */
function createChecks(date: () => Date) {
  const verdicts = createTally(['healthy', ...Object.keys(sentences)])
  const durations = createHistogram()
  let healthy: boolean | undefined
  let failures = 0
  let changes = 0
  let checkedAt: Date | undefined
  let healthyAt: Date | undefined
  return { observe, verdicts, durations, read: () => ({ healthy, failures, changes, checkedAt, healthyAt }) }

  function observe(verdict: Verdict) {
    const before = healthy
    healthy = verdict.result === 'healthy'
    verdicts.count(verdict.result)
    const checkMs = checkMsOf(verdict)
    if (checkMs !== undefined) durations.observe(checkMs / 1_000)
    failures = healthy ? 0 : failures + 1
    if (before !== undefined && before !== healthy) changes += 1
    checkedAt = date()
    if (healthy) healthyAt = checkedAt
  }
}

function seriesOf({ verdicts, durations, read }: ReturnType<typeof createChecks>): Series[] {
  return [
    row('pghealth_up', 'Whether the last verdict was healthy: 1 or 0. Absent before the first check.', () => {
      const { healthy } = read()
      return healthy === undefined ? undefined : Number(healthy)
    }),
    {
      name: 'pghealth_checks_total',
      type: 'counter',
      help: 'Verdicts. The result is healthy or the reason. A check counts once, however many requests share it. Requests that time out during a check add one verdict in total.',
      samples: () => verdicts.samples(result => labelsOf({ result })),
    },
    {
      name: 'pghealth_check_duration_seconds',
      type: 'histogram',
      help: 'How long checks took, including the time to open a session if there was none.',
      samples: () => durations.samples({}),
    },
    row(
      'pghealth_consecutive_failures',
      'Unhealthy verdicts since the last healthy one.',
      () => read().failures,
    ),
    row(
      'pghealth_state_changes_total',
      'Changes between healthy and unhealthy. Three or more within fifteen minutes are an intermittent failure.',
      () => read().changes,
    ),
    row(
      'pghealth_last_check_timestamp_seconds',
      'Unix time of the last verdict. Absent before the first.',
      () => secondsOf(read().checkedAt),
    ),
    row(
      'pghealth_last_healthy_timestamp_seconds',
      'Unix time of the last healthy verdict. Absent before the first.',
      () => secondsOf(read().healthyAt),
    ),
  ]
}

/** Node's HTTP parser refuses with these: malformed, too slow, chunk extensions or headers too large (Node 20 to 26). */
const refusedStatuses = [400, 408, 413, 431]

/** Counts responses. Refused requests have no path, so only `otherPath` has their statuses. */
function createRequests({ paths, unhealthyStatus, inFlight }: MetricsOptions) {
  const codesOf = ({ path, statuses }: CountedPath) => [
    ...new Set([200, 404, 405, 500, ...(statuses ?? [unhealthyStatus])]),
    ...(path === otherPath ? refusedStatuses : []),
    'other',
  ]
  const answers = new Map(
    paths.map(counted => [
      counted.path,
      { codes: createTally(codesOf(counted)), durations: createHistogram() },
    ]),
  )
  const series: readonly Series[] = [
    {
      name: 'pghealth_http_requests_total',
      type: 'counter',
      help: 'Responses, by path and status. A request that the HTTP parser refuses (400, 408, 413, 431) has the path other.',
      samples: () =>
        [...answers].flatMap(([path, { codes }]) => codes.samples(code => labelsOf({ path, code }))),
    },
    {
      name: 'pghealth_http_request_duration_seconds',
      type: 'histogram',
      help: 'How long clients waited for a response, by path. A request that the HTTP parser refuses is not measured.',
      samples: () => [...answers].flatMap(([path, { durations }]) => durations.samples({ path })),
    },
    row(
      'pghealth_http_requests_in_flight',
      'Requests that wait for a response, including the scrape itself.',
      inFlight,
    ),
  ]
  return { onAnswer, onRefused, series }

  function onAnswer(path: string, status: number, totalMs: number) {
    const counters = answers.get(path)
    counters?.codes.count(status)
    counters?.durations.observe(totalMs / 1_000)
  }

  function onRefused(status: number) {
    answers.get(otherPath)?.codes.count(status)
  }
}

function secondsOf(date: Date | undefined): number | undefined {
  return date && date.getTime() / 1_000
}
