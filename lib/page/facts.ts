// Writes the facts of the last hour as a list: the last check, availability, failures and latency.
import { type Reason, sentences } from '../health/verdict.ts'
import type { Snapshot } from '../monitor/history.ts'
import { limitsMs } from './chart.ts'
import { durationOf, latencyOf, percentOf } from './format.ts'
import { html, type Markup } from './html.ts'

/** The terms and values of a definition list; without those that there is nothing to say about. */
export function factsOf({ last, buckets }: Snapshot): Markup {
  const facts: [term: string, value: Markup | string][] = [
    ['Last check', last ? lastCheckOf(last) : 'none'],
    ['Healthy', availabilityOf(buckets)],
    ['Failed', failuresOf(buckets)],
    ['Latency', typicalOf(buckets)],
  ]
  const known = facts.filter(([, value]) => value !== '')
  return html`${known.map(([term, value]) => html`<dt>${term}</dt><dd>${value}</dd>`)}`
}

function lastCheckOf({ result, checkMs, agoMs }: NonNullable<Snapshot['last']>): Markup {
  if (checkMs === undefined) return html`${durationOf(agoMs)} ago, timed out while it was running`
  if (result !== 'healthy') return html`${durationOf(agoMs)} ago, failed after <b>${latencyOf(checkMs)}</b>`
  const limit = limitsMs.findLast(ms => checkMs > ms)
  const above = limit ? `, above ${latencyOf(limit)}` : ''
  return html`${durationOf(agoMs)} ago, took <b>${latencyOf(checkMs)}</b>${above}`
}

function availabilityOf(buckets: Snapshot['buckets']): Markup | string {
  const checks = sumOf(buckets.map(bucket => bucket.checks))
  if (checks === 0) return 'no checks'
  const failed = sumOf(buckets.flatMap(bucket => Object.values(bucket.failures)))
  return html`<b>${percentOf(checks - failed, checks)}</b> of ${checks} checks`
}

/** The most frequent reason first; empty if no check failed. */
function failuresOf(buckets: Snapshot['buckets']): string {
  const counts = (Object.keys(sentences) as Reason[])
    .map(reason => ({ reason, count: sumOf(buckets.map(({ failures }) => failures[reason] ?? 0)) }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
  return counts.map(({ reason, count }) => `${count} × ${sentences[reason]}`).join(', ')
}

/** Empty if no check was healthy. */
function typicalOf(buckets: Snapshot['buckets']): Markup | string {
  const medians = buckets.flatMap(({ medianMs }) => medianMs ?? []).sort((a, b) => a - b)
  const median = medians[Math.floor(medians.length / 2)]
  if (median === undefined) return ''
  const slowest = Math.max(...buckets.map(({ slowestMs = 0 }) => slowestMs))
  return html`typically <b>${latencyOf(median)}</b>, slowest <b>${latencyOf(slowest)}</b>`
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
