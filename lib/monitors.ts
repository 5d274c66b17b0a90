// Makes what gets each verdict and each refused request: the log's report, and the pages.
import type { Config } from './config/config.ts'
import { createDetails } from './library/details.ts'
import type { Log } from './monitor/log.ts'
import { createProcessSeries } from './monitor/process.ts'
import { createReport } from './monitor/report.ts'
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

/** `details` is absent with HEALTH_DETAILS=off. */
export function createMonitors({ config, host, version, log, database, inFlight }: MonitorsOptions) {
  const { now, date } = host
  const report = createReport({ log, now, slowMs: config.slowMs, serverMessageOf })
  const details =
    config.details === 'on'
      ? createDetails({
          version,
          roles: 'served',
          unhealthyStatus: config.unhealthyStatus,
          now,
          date,
          inFlight,
          connectionsOpened: database.connectionsOpened,
          more: createProcessSeries({ host: host.process, date, now, folder: '/proc/self' }),
        })
      : undefined
  return { details, onVerdict: report.observe, onRefused }

  function onRefused(status: number) {
    report.onRefused(status)
    details?.onRefused(status)
  }
}

/** What a server or pooler said, fit for the log: no name, no address, no literal. */
function serverMessageOf(error: unknown): string | undefined {
  return error instanceof Error ? scrubbed(error.message) : undefined
}
