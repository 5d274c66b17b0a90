// Decides what the page says at a glance: a word, and a color, shape and symbol that say the same.
import type { Snapshot } from '../monitor/history.ts'

/** What the page says at a glance. Not everybody sees colors or shapes, so each indicator has all of them. */
export type Indicator = 'healthy' | 'unhealthy' | 'intermittent' | 'unknown'

/** A verdict that is older than this says nothing about the present, milliseconds. */
export const staleMs = 60_000

export const symbols: Readonly<Record<Indicator, string>> = {
  healthy: '✓',
  unhealthy: '✗',
  intermittent: '!',
  unknown: '?',
}

/** A circle, an octagon, a triangle and a square, 16 units wide. */
const icons: Readonly<
  Record<Indicator, { readonly fill: string; readonly shape: string; readonly sign: string }>
> = {
  healthy: { fill: '116329', shape: 'M8 1a7 7 0 1 0 .1 0z', sign: 'M4.5 8l3 3 4-5.5' },
  unhealthy: { fill: 'a40e26', shape: 'M5 1h6l4 4v6l-4 4h-6l-4-4v-6z', sign: 'M5 5l6 6m0-6l-6 6' },
  intermittent: { fill: '7a4b00', shape: 'M8 1l7 14h-14z', sign: 'M8 6v4m0 1.5v2' },
  unknown: {
    fill: '4b535d',
    shape: 'M1 1h14v14h-14z',
    sign: 'M5.5 6a2.5 2.5 0 1 1 3.5 2.3q-1 .6-1 1.7m0 1.5v2',
  },
}

/** The indicator of the last verdict, and the headline of the page. */
export function indicatorOf({ last, nature }: Snapshot): { indicator: Indicator; headline: string } {
  if (!last) return { indicator: 'unknown', headline: 'Not known yet' }
  const state = last.result === 'healthy' ? 'healthy' : 'unhealthy'
  if (last.agoMs > staleMs) return { indicator: 'unknown', headline: `Was ${state}` }
  if (state === 'unhealthy') return { indicator: 'unhealthy', headline: 'Unhealthy' }
  return { indicator: nature ? 'intermittent' : 'healthy', headline: 'Healthy' }
}

/** The icon as a `data:` URL, so that the browser need not request it. */
export function iconOf(indicator: Indicator): string {
  const { fill, shape, sign } = icons[indicator]
  const svg = [
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>",
    "<g stroke='white' stroke-linejoin='round'>",
    `<path fill='#${fill}' d='${shape}'/>`,
    `<path fill='none' stroke-width='2' d='${sign}'/>`,
    '</g></svg>',
  ].join('')
  return `data:image/svg+xml,${encodeURIComponent(svg).replace(/%(?:20|27|2F|3D)/g, decodeURIComponent)}`
}
