// The page for people, and the same as JSON: what the checks found, without asking the database.

import type { Reply } from '../health/reply.ts'
import { meanings, type Reason, sentences } from '../health/verdict.ts'
import { type Change, intermittent, type Snapshot } from '../monitor/history.ts'
import { bucketMs } from '../monitor/window.ts'
import { chartOf, columns, heightOf } from './chart.ts'
import { durationOf, instantOf, latencyOf, percentOf } from './format.ts'
import { html, type Markup, raw } from './html.ts'
import { script } from './script.ts'
import { createPageHeaders, iconOf, type Look, signs, style } from './style.ts'

export interface PageOptions {
  readonly read: () => Snapshot
  readonly version: string
}

/** What of the fifty changes the page has room for. */
const changesShown = 10
/** After this long without a check the page no longer says what is, but what was, milliseconds. */
export const staleMs = 60_000
/** The lines of the plot, whatever HEALTH_SLOW_MS is: a check above the second is slow to the alert rules, too. */
const limitsMs = [50, 100] as const

/** The page at `/` and its data at `/history`, by path. Neither depends on the request. */
export function pagesOf({ read, version }: PageOptions): [path: string, render: () => Reply][] {
  // The first hash loads OpenSSL's: 5 ms that the start need not pay.
  let headers: readonly string[] | undefined
  const replyOf = (contentType: string, body: string): Reply => {
    headers ??= createPageHeaders()
    return { status: 200, contentType, headers, body }
  }
  return [
    ['/', () => replyOf('text/html; charset=utf-8', `<!doctype html>${documentOf(read(), version).html}`)],
    ['/history', () => replyOf('application/json', JSON.stringify({ version, ...read() }))],
  ]
}

interface Face {
  readonly look: Look
  readonly word: string
}

/** The verdict at a glance: its colour and shape, and its word. */
function faceOf({ last, nature }: Snapshot): Face {
  if (!last) return { look: 'unknown', word: 'Not known yet' }
  const state = last.result === 'healthy' ? 'healthy' : 'unhealthy'
  if (last.agoMs > staleMs) return { look: 'unknown', word: `Was ${state}` }
  if (state === 'unhealthy') return { look: 'unhealthy', word: 'Unhealthy' }
  return { look: nature ? 'intermittent' : 'healthy', word: 'Healthy' }
}

function documentOf(snapshot: Snapshot, version: string): Markup {
  const { look, word } = faceOf(snapshot)
  return html`<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${signs[look]} ${word} · pg-health</title><link rel="icon" href="${iconOf(look)}"><style>${raw(style)}</style></head>
<body data-look="${look}"><header><div id="verdict" role="status" aria-live="polite">${verdictOf(look, word, snapshot)}</div>
<div id="since">${sinceOf(snapshot)}</div><form action="health"><button>Ask now</button> <output></output></form></header>
<main><h2>The last hour</h2><dl id="facts">${factsOf(snapshot)}</dl>${chartsOf(snapshot)}${changesOf(snapshot)}</main>
<footer><p id="foot">pg-health ${version}, up ${durationOf(snapshot.uptimeMs)}. As of ${timeOf(snapshot.at, snapshot)}.</p>
<nav aria-label="Data"><a href="health">/health</a><a href="metrics">/metrics</a><a href="history">/history</a></nav></footer>
<template>${lost}</template><script type="module">${raw(script)}</script></body></html>`
}

function verdictOf(look: Look, word: string, { last, nature, recentChanges }: Snapshot): Markup {
  const natures = {
    intermittent: html`<p><b>Intermittent</b>: ${recentChanges} changes within ${intermittent.withinMs / 60_000} minutes</p>`,
    sustained: html`<p><b>Sustained</b>: it has not come back</p>`,
  }
  return html`${headOf(look, word)}${reasonOf(last)}${nature && look !== 'unknown' ? natures[nature] : ''}`
}

function headOf(look: Look, word: string): Markup {
  return html`<img alt="" src="${iconOf(look)}"><h1>${word}</h1>`
}

/** What the script shows when it gets no answer; it fills in since when. */
const lost = html`${headOf('unknown', 'No answer')}<p>pg-health has not answered since <time></time>. What stands below is old.</p>`

function reasonOf(last: Snapshot['last']): Markup | '' {
  if (!last) return html`<p>No check has ended since the start</p>`
  if (last.result === 'healthy') return ''
  return html`<p><b>${sentences[last.result]}</b>: ${meanings[last.result]}</p>`
}

function sinceOf(snapshot: Snapshot): Markup | '' {
  const { last, changes } = snapshot
  const [newest] = changes
  if (!last || !newest) return ''
  if (last.agoMs > staleMs) {
    return html`<p><b>Nobody has asked for ${durationOf(last.agoMs)}</b>, since ${timeOf(last.at, snapshot)}</p>`
  }
  return html`<p>For <b>${durationOf(newest.heldMs)}</b>, since ${timeOf(newest.at, snapshot)}</p>`
}

function factsOf({ last, buckets }: Snapshot): Markup {
  const failures = Object.entries(failuresOf(buckets))
  const failed = sumOf(failures.map(([, count]) => count))
  const checks = sumOf(buckets.map(bucket => bucket.checks))
  const reasons = failures.map(([reason, count]) => `${count} × ${sentences[reason as Reason]}`).join(', ')
  const latencies = buckets.flatMap(({ medianMs }) => medianMs ?? []).sort((a, b) => a - b)
  const typical = latencies[Math.floor(latencies.length / 2)]
  const slowest = Math.max(0, ...buckets.map(({ slowestMs = 0 }) => slowestMs))
  return html`<dt>Last check</dt><dd>${last ? lastOf(last) : 'none'}</dd>
<dt>Healthy</dt><dd>${checks > 0 ? html`<b>${percentOf(checks - failed, checks)}</b> of ${checks} checks` : 'nobody asked'}</dd>
${failed > 0 ? html`<dt>Failed</dt><dd>${reasons}</dd>` : ''}
${typical === undefined ? '' : html`<dt>Latency</dt><dd>typically <b>${latencyOf(typical)}</b>, slowest <b>${latencyOf(slowest)}</b></dd>`}`
}

function lastOf({ result, checkMs, agoMs }: NonNullable<Snapshot['last']>): Markup {
  if (checkMs === undefined) return html`${durationOf(agoMs)} ago, had not ended in time`
  const limit = limitsMs.findLast(ms => checkMs > ms)
  const word = result === 'healthy' ? 'the check took' : 'failed after'
  const above = result === 'healthy' && limit ? `, above ${latencyOf(limit)}` : ''
  return html`${durationOf(agoMs)} ago, ${word} <b>${latencyOf(checkMs)}</b>${above}`
}

function failuresOf(buckets: Snapshot['buckets']): Partial<Record<Reason, number>> {
  const all: Partial<Record<Reason, number>> = {}
  for (const { failures } of buckets) {
    for (const [reason, count] of Object.entries(failures))
      all[reason as Reason] = (all[reason as Reason] ?? 0) + count
  }
  return all
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}

function chartsOf({ buckets, uptimeMs }: Snapshot): Markup {
  const { healthy, failed, slowest, median } = chartOf(buckets, Math.floor(uptimeMs / bucketMs))
  const strip = html`<path d="M0 50h${columns}"/><path class="up" d="${healthy}"/><path class="down" d="${failed}"/>`
  const plot = html`<path d="${lineAt(1) + lineAt(1000)}"/><path class="limit" d="${limitsMs.map(lineAt).join('')}"/><path class="slowest" d="${slowest}"/><path class="median" d="${median}"/>`
  return html`<h2>Availability</h2>${chart('strip', strip, { healthy: 'healthy', failed: 'failed' })}
<h2>Latency of healthy checks</h2>${chart('plot', plot, { ms1000: '1 s', ms100: '100 ms', ms50: '50 ms', ms1: '1 ms' })}`
}

/** Not for screen readers, which have the facts above in words. Where the labels go is in the style. */
function chart(name: string, paths: Markup, labels: Readonly<Record<string, string>>): Markup {
  const spans = Object.entries(labels).map(([place, label]) => html`<span class="${place}">${label}</span>`)
  return html`<div aria-hidden="true"><div class="chart"><svg id="${name}" viewBox="0 0 ${columns} 100" preserveAspectRatio="none">${paths}</svg>${spans}</div>
<p class="axis"><span>60 min ago</span><span>30</span><span>now</span></p></div>`
}

function lineAt(ms: number): string {
  return `M0 ${100 - heightOf(ms)}h${columns}`
}

function changesOf(snapshot: Snapshot): Markup {
  const rows = snapshot.changes.slice(0, changesShown).map((change, place) => {
    const held = `${durationOf(change.heldMs)}${place === 0 ? ' so far' : ''}`
    return html`<tr><td>${timeOf(change.at, snapshot)}</td><td>${stateOf(change)}</td><td>${held}</td></tr>`
  })
  return html`<h2 id="title">Last changes</h2><table aria-labelledby="title"><thead><tr><th scope="col">Since</th><th scope="col">State</th><th scope="col">Held</th></tr></thead><tbody id="changes">${rows}</tbody></table>`
}

function stateOf({ state, reasons, first }: Change): string {
  const words = reasons.map(reason => sentences[reason]).join(', ') || state
  return `${signs[state]} ${words}${first ? ' (first result)' : ''}`
}

/** Without the script it stays UTC. */
function timeOf(date: Date, { at }: Snapshot): Markup {
  return html`<time datetime="${date.toISOString().slice(0, 19)}Z">${instantOf(date, at)}</time>`
}
