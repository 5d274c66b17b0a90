// The style and the icons of the page, and the policy that lets nothing in but these and its script.
import { createHash } from 'node:crypto'
import { heightOf } from './chart.ts'
import { script } from './script.ts'

/** The whole style. White on the four colours of the header, and text on paper, have a contrast of AA or more. */
export const style = `
:root{color-scheme:light dark;--paper:#fff;--text:#1b1f24;--quiet:#57606a;--line:#d0d7de;--up:#1a7f37;--down:#cf222e;--lines:#0550ae;font:clamp(100%,.75rem + .35vw,175%)/1.4 system-ui,sans-serif}
@media(prefers-color-scheme:dark){:root{--paper:#0d1117;--text:#e6edf3;--quiet:#9ea7b3;--line:#3d444d;--up:#3fb950;--down:#ff7b72;--lines:#79c0ff}}
*{box-sizing:border-box;margin:0}
body{background:var(--paper);color:var(--text);font-variant-numeric:tabular-nums}
header,main,footer{padding:1rem max(1rem,50vw - 30rem)}
header{background:#4b535d;color:#fff}
[data-look=healthy] header{background:#116329}
[data-look=unhealthy] header{background:#a40e26}
[data-look=intermittent] header{background:#7a4b00}
#verdict{display:grid;grid-template-columns:auto 1fr;gap:0 1rem;align-items:center}
#verdict p{grid-column:1/3;font-size:1.15rem}
img{width:3.5rem;height:3.5rem}
h1{font-size:clamp(2rem,9vw,3.5rem);line-height:1.2}
h2{font-size:1.1rem;margin:1.2rem 0 .3rem}
h2:first-child{margin-top:0}
#since b{font-size:1.15rem}
button{font:inherit;color:inherit;background:#0004;border:2px solid;border-radius:.4rem;padding:.4rem 1rem;margin-top:.7rem}
:focus-visible{outline:3px solid;outline-offset:2px}
dl{display:grid;grid-template-columns:auto 1fr;gap:.1rem 1rem}
dt,footer{color:var(--quiet)}
.chart{position:relative;margin-left:4rem}
svg{display:block;width:100%;overflow:visible;fill:none}
#strip{height:3rem}
#plot{height:11rem}
path{vector-effect:non-scaling-stroke;stroke:var(--line)}
.up{stroke:var(--up);stroke-width:1.2rem}
.down{stroke:var(--down);stroke-width:1.2rem}
.slowest,.median{stroke:var(--lines);stroke-width:2;stroke-linecap:round}
.median{stroke-width:3}
.slowest{opacity:.5}
.limit{stroke:var(--quiet);stroke-dasharray:5 4}
.chart span{position:absolute;right:100%;padding-right:.5rem;white-space:nowrap;font-size:.8rem;line-height:1;color:var(--quiet);transform:translateY(50%)}
${[1, 50, 100, 1000].map(ms => `.ms${ms}{bottom:${heightOf(ms)}%}`).join('')}
.healthy{bottom:75%}.failed{bottom:25%}
.ms100{margin-bottom:.15rem}.ms50{margin-bottom:-.15rem}
.axis{display:flex;justify-content:space-between;margin-left:4rem;font-size:.8rem;color:var(--quiet)}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.35rem .6rem .35rem 0;border-bottom:1px solid var(--line)}
td:nth-child(2){overflow-wrap:anywhere}
td:last-child,th:last-child{text-align:right;padding-right:0}
a{color:inherit}
nav a{margin-right:1rem}
`

/** How a verdict looks: colour, shape and sign say the same, as not everyone sees each of them. */
export type Look = 'healthy' | 'unhealthy' | 'intermittent' | 'unknown'

export const signs: Readonly<Record<Look, string>> = {
  healthy: '✓',
  unhealthy: '✗',
  intermittent: '!',
  unknown: '?',
}

const icons: Readonly<Record<Look, readonly [fill: string, shape: string, sign: string]>> = {
  healthy: ['116329', 'M8 1a7 7 0 1 0 .1 0z', 'M4.5 8l3 3 4-5.5'],
  unhealthy: ['a40e26', 'M5 1h6l4 4v6l-4 4h-6l-4-4v-6z', 'M5 5l6 6m0-6l-6 6'],
  intermittent: ['7a4b00', 'M8 1l7 14h-14z', 'M8 6v4m0 1.5v2'],
  unknown: ['4b535d', 'M1 1h14v14h-14z', 'M5.5 6a2.5 2.5 0 1 1 3.5 2.3q-1 .6-1 1.7m0 1.5v2'],
}

/** The shape with its sign, as an address that needs no request: round, eight corners, three, four. */
export function iconOf(look: Look): string {
  const [fill, shape, sign] = icons[look]
  const line = "stroke='white' stroke-linejoin='round'"
  const svg = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><g ${line}><path fill='#${fill}' d='${shape}'/><path fill='none' stroke-width='2' d='${sign}'/></g></svg>`
  return `data:image/svg+xml,${encodeURIComponent(svg).replace(/%(?:20|27|2F|3D)/g, decodeURIComponent)}`
}

/**
 * Names and values of the headers that close the page to everything that is not its own. Only this very style
 * and this very script run; nothing is loaded but from here; nobody frames it, or learns where its links lead from.
 */
export function createPageHeaders(): readonly string[] {
  return [
    'content-security-policy',
    [
      "default-src 'none'",
      `style-src ${hashOf(style)}`,
      `script-src ${hashOf(script)}`,
      'img-src data:',
      "connect-src 'self'",
      "form-action 'self'",
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
    'x-frame-options',
    'DENY',
    'x-content-type-options',
    'nosniff',
    'referrer-policy',
    'no-referrer',
  ]
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}
