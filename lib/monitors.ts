// Passes each verdict on to log, metrics and history, and makes the pages that show them.
import type { Config } from './config/config.ts'
import { shutdownVerdict, type Verdict } from './health/verdict.ts'
import { createPages } from './http/pages.ts'
import { pathsOf } from './http/route.ts'
import { createHistory } from './monitor/history.ts'
import type { Log } from './monitor/log.ts'
import { createMetrics } from './monitor/metrics.ts'
import { createProcessSeries } from './monitor/process.ts'
import { createReport } from './monitor/report.ts'
import { pagesOf } from './page/page.ts'
import type { Database } from './postgres/database.ts'
import { scrubbed } from './scrub.ts'
import type { Host } from './system/host.ts'

export interface MonitorsOptions {
  readonly config: Config
  readonly host: Host
  readonly version: string
  readonly log: Log
  readonly database: Database
  readonly inFlight: () => number
}

/** Everything that gets each verdict and each refused request, and the pages that show what it was. */
export function createMonitors({ config, host, version, log, database, inFlight }: MonitorsOptions) {
  const { now, date } = host
  const report = createReport({ log, now, slowMs: config.slowMs, serverMessageOf })
  const history = createHistory({ now, date })
  const shown = config.details === 'on'
  const people = pagesOf({ ...history, version, unhealthyStatus: config.unhealthyStatus })
  const metrics = createMetrics({
    version,
    paths: pathsOf(shown ? [...people.map(([path]) => path), '/metrics'] : []),
    unhealthyStatus: config.unhealthyStatus,
    date,
    inFlight,
    connectionsOpened: database.connectionsOpened,
    more: createProcessSeries({ host: host.process, date, now, folder: '/proc/self' }),
  })
  const pages = createPages(shown ? [...people, ['/metrics', metrics.render]] : [])
  const showShutdown = () => history.observe(shutdownVerdict)
  return { observe, showShutdown, pages, onAnswer: metrics.onAnswer, onRefused }

  function observe(verdict: Verdict) {
    report.observe(verdict)
    metrics.observe(verdict)
    history.observe(verdict)
  }

  function onRefused(status: number) {
    report.onRefused(status)
    metrics.onRefused(status)
  }
}

/** What a server or pooler said, fit for the log: no name, no address, no literal. */
function serverMessageOf(error: unknown): string | undefined {
  return error instanceof Error ? scrubbed(error.message) : undefined
}
