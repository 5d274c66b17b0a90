// Writes the page as an HTML document.
import { meanings, sentences } from '../health/verdict.ts'
import { type Change, intermittent, type Snapshot, sustainedAfterMs } from '../monitor/history.ts'
import { chartsOf } from './chart.ts'
import { factsOf } from './facts.ts'
import { durationOf, instantOf } from './format.ts'
import { html, type Markup, raw } from './html.ts'
import { type Indicator, iconOf, indicatorOf, staleMs, symbols } from './indicator.ts'
import { script } from './script.ts'
import { style } from './style.ts'

/** How many changes the page shows; /history has up to fifty. */
const changesShown = 10

/** The whole document. The script replaces the content of every element that has an id. */
export function documentOf(snapshot: Snapshot, version: string): string {
  const { indicator, headline } = indicatorOf(snapshot)
  const page = html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width">
  <title>${symbols[indicator]} ${headline} · pg-health</title>
  <link rel="icon" href="${iconOf(indicator)}">
  <style>${raw(style)}</style>
</head>
<body data-indicator="${indicator}">
${headerOf(snapshot, indicator, headline)}
<main>
  <h2>The last hour</h2>
  <dl id="facts">${factsOf(snapshot)}</dl>
  ${chartsOf(snapshot)}
  ${changesOf(snapshot)}
</main>
<footer>
  <p id="foot">
    pg-health ${version}, up ${durationOf(snapshot.uptimeMs)}. Updated ${timeOf(snapshot.at, snapshot)}.
  </p>
  <nav aria-label="Data">
    <a href="health">/health</a>
    <a href="metrics">/metrics</a>
    <a href="history">/history</a>
  </nav>
</footer>
<template>${noAnswer}</template>
<script type="module">${raw(script)}</script>
</body>
</html>
`
  return page.html
}

function headerOf(snapshot: Snapshot, indicator: Indicator, headline: string): Markup {
  return html`<header>
  <div id="verdict" role="status" aria-live="polite">
    ${headlineOf(indicator, headline)}
    ${reasonOf(snapshot)}
    ${indicator === 'unknown' ? '' : natureOf(snapshot)}
  </div>
  <div id="since">${sinceOf(snapshot)}</div>
  <form action="health"><button>Check now</button> <output></output></form>
</header>`
}

function headlineOf(indicator: Indicator, headline: string): Markup {
  return html`<img alt="" src="${iconOf(indicator)}"><h1>${headline}</h1>`
}

/** Replaces the verdict when the server does not answer. The script fills in the time. */
const noAnswer = html`
  ${headlineOf('unknown', 'No answer')}
  <p>pg-health has not answered since <time></time>. The data below is old.</p>
`

function reasonOf({ last }: Snapshot): Markup | '' {
  if (!last) return html`<p>No check has finished since pg-health started</p>`
  if (last.result === 'healthy') return ''
  return html`<p><b>${sentences[last.result]}</b>: ${meanings[last.result]}</p>`
}

/** The kind of failure. Without its age, which changes: screen readers read a changed verdict aloud. */
function natureOf({ nature, recentChanges }: Snapshot): Markup {
  const [limit, window] = [sustainedAfterMs / 60_000, intermittent.withinMs / 60_000]
  const term = nature === 'sustained' ? 'Intermittent before' : 'Intermittent'
  const isIntermittent = recentChanges >= intermittent.changes
  return html`
    ${nature === 'recent' ? html`<p><b>Just failed</b>: less than ${limit} minutes ago</p>` : ''}
    ${nature === 'sustained' ? html`<p><b>Sustained</b>: for more than ${limit} minutes</p>` : ''}
    ${isIntermittent ? html`<p><b>${term}</b>: ${recentChanges} changes in ${window} minutes</p>` : ''}`
}

function sinceOf(snapshot: Snapshot): Markup | '' {
  const { last, changes } = snapshot
  const [newest] = changes
  if (!last || !newest) return ''
  if (last.agoMs > staleMs) {
    return html`<p><b>No check for ${durationOf(last.agoMs)}</b>, since ${timeOf(last.at, snapshot)}</p>`
  }
  return html`<p>For <b>${durationOf(newest.heldMs)}</b>, since ${timeOf(newest.at, snapshot)}</p>`
}

function changesOf(snapshot: Snapshot): Markup {
  const rows = snapshot.changes.slice(0, changesShown).map((change, place) => {
    const lasted = `${durationOf(change.heldMs)}${place === 0 ? ' so far' : ''}`
    return html`
      <tr><td>${timeOf(change.at, snapshot)}</td><td>${stateOf(change)}</td><td>${lasted}</td></tr>`
  })
  return html`<h2 id="title">Recent changes</h2>
  <table aria-labelledby="title">
    <thead><tr><th scope="col">Since</th><th scope="col">State</th><th scope="col">Lasted</th></tr></thead>
    <tbody id="changes">${rows}</tbody>
  </table>`
}

function stateOf({ state, reasons, first }: Change): string {
  const words = reasons.map(reason => sentences[reason]).join(', ') || state
  return `${symbols[state]} ${words}${first ? ' (first result)' : ''}`
}

/** A time in UTC. The script rewrites it in the reader's time zone. */
function timeOf(date: Date, { at }: Snapshot): Markup {
  return html`<time datetime="${date.toISOString().slice(0, 19)}Z">${instantOf(date, at)}</time>`
}
