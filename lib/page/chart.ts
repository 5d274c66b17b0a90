// Draws the two charts of the last hour: availability and latency.
import type { Snapshot } from '../monitor/history.ts'
import { bucketMs } from '../monitor/window.ts'
import { html, type Markup } from './html.ts'
import { columns, heightOf, pathsOf } from './plot.ts'

/** Limits in the latency chart, milliseconds. The alert rules call a check above the second one slow. */
export const limitsMs = [50, 100] as const

/** Both charts. Screen readers skip them: the facts above them say the same in words. */
export function chartsOf({ buckets, uptimeMs }: Snapshot): Markup {
  const { healthy, failed, slowest, median } = pathsOf(buckets, Math.floor(uptimeMs / bucketMs))
  const availability = html`
    <path d="M0 50h${columns}"/>
    <path class="up" d="${healthy}"/>
    <path class="down" d="${failed}"/>`
  const latency = html`
    <path d="${lineAt(1) + lineAt(1000)}"/>
    <path class="limit" d="${limitsMs.map(lineAt).join('')}"/>
    <path class="slowest" d="${slowest}"/>
    <path class="median" d="${median}"/>`
  return html`
  <h2>Availability</h2>
  ${chart('availability', availability, { healthy: 'healthy', failed: 'failed' })}
  <h2>Latency of healthy checks</h2>
  ${chart('latency', latency, { ms1000: '1 s', ms100: '100 ms', ms50: '50 ms', ms1: '1 ms' })}`
}

/** @param labels texts by class name. The style places them. */
function chart(id: string, paths: Markup, labels: Readonly<Record<string, string>>): Markup {
  const spans = Object.entries(labels).map(([name, label]) => html`<span class="${name}">${label}</span>`)
  return html`<div aria-hidden="true">
    <div class="chart">
      <svg id="${id}" viewBox="0 0 ${columns} 100" preserveAspectRatio="none">${paths}</svg>
      ${spans}
    </div>
    <p class="axis"><span>60 min ago</span><span>30 min ago</span><span>now</span></p>
  </div>`
}

function lineAt(ms: number): string {
  return `M0 ${100 - heightOf(ms)}h${columns}`
}
