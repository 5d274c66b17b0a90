// Records verdicts, and renders the pages that show them: /, /history and /metrics.
import { shutdownVerdict, type Verdict } from '../health/verdict.ts'
import { createPages } from '../http/pages.ts'
import { type Pages, pathsOf, type RoutesOptions, routesOf } from '../http/route.ts'
import { createHistory } from '../monitor/history.ts'
import { createMetrics, type Metrics, type MetricsOptions } from '../monitor/metrics.ts'
import { pagesOf } from '../page/page.ts'

export interface DetailsOptions extends Omit<MetricsOptions, 'paths'>, Pick<RoutesOptions, 'roles'> {
  /** Monotonic clock, milliseconds. */
  readonly now: () => number
}

export interface Details extends Pick<Metrics, 'onAnswer' | 'onRefused'> {
  readonly pages: Pages
  /** Records a verdict. */
  observe(verdict: Verdict): void
  /** Shows from now on that the server is shutting down. */
  showShutdown(): void
}

/** Makes the pages. Nothing has been recorded yet. */
export function createDetails(options: DetailsOptions): Details {
  const { roles, now, date, version, unhealthyStatus } = options
  const history = createHistory({ now, date })
  const people = pagesOf({ read: history.read, version, unhealthyStatus })
  const pages = createPages([...people, ['/metrics', () => metrics.render()]])
  const metrics = createMetrics({ ...options, paths: pathsOf(routesOf({ roles, pages })) })
  const { onAnswer, onRefused } = metrics
  return { pages, observe, showShutdown: () => history.observe(shutdownVerdict), onAnswer, onRefused }

  function observe(verdict: Verdict) {
    metrics.observe(verdict)
    history.observe(verdict)
  }
}
