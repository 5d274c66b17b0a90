// Parses /metrics, and makes the metrics without a server.
import assert from 'node:assert/strict'
import { pathsOf, routesOf } from '../../lib/http/route.ts'
import { createMetrics, type MetricsOptions } from '../../lib/monitor/metrics.ts'
import { createProcessSeries } from '../../lib/monitor/process.ts'

/** All metrics as the program makes them, with a fixed clock and figures from the test. */
export function createTable(options: Partial<MetricsOptions> = {}) {
  const date = () => new Date(1_700_000_000_000)
  const pages = new Map([['/metrics', () => ({ status: 200, body: '' })]])
  return createMetrics({
    version: '1.2.3',
    paths: pathsOf(routesOf({ roles: 'served', pages })),
    unhealthyStatus: 503,
    date,
    inFlight: () => 0,
    connectionsOpened: () => 0,
    more: createProcessSeries({ host: process, date, now: () => performance.now(), folder: '/proc/self' }),
    ...options,
  })
}

/** The samples of a page by name and labels: `pghealth_checks_total{result="healthy"}`. */
export function samplesOf(page: string): ReadonlyMap<string, number> {
  const lines = page.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  const samples = lines.map(line => [line.replace(/ \S+$/, ''), Number(line.replace(/^.* /, ''))] as const)
  assert.equal(new Set(samples.map(([key]) => key)).size, samples.length, 'a sample is there twice')
  return new Map(samples)
}
