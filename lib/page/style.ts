// Holds the style sheet of the page.
import { heightOf } from './plot.ts'

/** The heights of labels in the latency chart: the policy of the page forbids style attributes. */
const labelHeights = [1, 50, 100, 1000].map(ms => `.ms${ms} { bottom: ${heightOf(ms)}% }`).join('\n')

/** The style sheet. Text on each background has the contrast that WCAG asks for at level AA. */
export const style = `
:root {
  color-scheme: light dark;
  --background: #fff;
  --text: #1b1f24;
  --muted: #57606a;
  --border: #d0d7de;
  --up: #1a7f37;
  --down: #cf222e;
  --latency: #0550ae;
  font: clamp(100%, .75rem + .35vw, 175%)/1.4 system-ui, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --background: #0d1117;
    --text: #e6edf3;
    --muted: #9ea7b3;
    --border: #3d444d;
    --up: #3fb950;
    --down: #ff7b72;
    --latency: #79c0ff;
  }
}
* { box-sizing: border-box; margin: 0 }
body {
  background: var(--background);
  color: var(--text);
  font-variant-numeric: tabular-nums;
}
header, main, footer { padding: 1rem max(1rem, 50vw - 30rem) }
h1 { font-size: clamp(2rem, 9vw, 3.5rem); line-height: 1.2 }
h2 { font-size: 1.1rem; margin: 1.2rem 0 .3rem }
h2:first-child { margin-top: 0 }
a { color: inherit }
:focus-visible { outline: 3px solid; outline-offset: 2px }

/* The header */
header { background: #4b535d; color: #fff }
[data-indicator=healthy] header { background: #116329 }
[data-indicator=unhealthy] header { background: #a40e26 }
[data-indicator=intermittent] header { background: #7a4b00 }
#verdict {
  display: grid;
  grid-template-columns: auto 1fr;
  gap: 0 1rem;
  align-items: center;
}
#verdict p { grid-column: 1 / 3; font-size: 1.15rem }
#since { font-size: 1.15rem }
img { width: 3.5rem; height: 3.5rem }
button {
  margin-top: .7rem;
  padding: .4rem 1rem;
  border: 2px solid;
  border-radius: .4rem;
  background: #0004;
  color: inherit;
  font: inherit;
}

/* The facts */
dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem 1rem }
dt, footer { color: var(--muted) }

/* The charts */
.chart { position: relative; margin-left: 4rem }
svg { display: block; width: 100%; overflow: visible; fill: none }
#availability { height: 3rem }
#latency { height: 11rem }
path { vector-effect: non-scaling-stroke; stroke: var(--border) }
.up { stroke: var(--up); stroke-width: 1.2rem }
.down { stroke: var(--down); stroke-width: 1.2rem }
.limit { stroke: var(--muted); stroke-dasharray: 5 4 }
.median, .slowest { stroke: var(--latency); stroke-linecap: round }
.median { stroke-width: 3 }
.slowest { stroke-width: 2; opacity: .5 }
.chart span {
  position: absolute;
  right: 100%;
  padding-right: .5rem;
  transform: translateY(50%);
  color: var(--muted);
  font-size: .8rem;
  line-height: 1;
  white-space: nowrap;
}
.healthy { bottom: 75% }
.failed { bottom: 25% }
${labelHeights}
.ms100 { margin-bottom: .15rem }
.ms50 { margin-bottom: -.15rem }
.axis {
  display: flex;
  justify-content: space-between;
  margin-left: 4rem;
  color: var(--muted);
  font-size: .8rem;
}

/* The changes */
table { width: 100%; border-collapse: collapse }
td, th {
  padding: .35rem .6rem .35rem 0;
  border-bottom: 1px solid var(--border);
  text-align: left;
  vertical-align: top;
}
td:nth-child(2) { overflow-wrap: anywhere }
td:last-child, th:last-child { padding-right: 0; text-align: right }

nav a { margin-right: 1rem }
`
