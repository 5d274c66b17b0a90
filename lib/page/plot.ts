// Turns the buckets of the last hour into the SVG paths of two charts: availability and latency.
import { type Bucket, bucketCount } from '../monitor/window.ts'

/** The width of both charts, in columns of three buckets: half a minute is as much as a phone can show. */
export const columns = 120
const bucketsPerColumn = bucketCount / columns

/** The height of a duration in the latency chart, 0 to 100. Logarithmic, so that 1 ms and 2 s both show. */
export function heightOf(ms: number): number {
  const [lowest, highest] = [0.5, 5_000]
  const share = Math.log(Math.max(ms, lowest) / lowest) / Math.log(highest / lowest)
  return Math.round(Math.min(share, 1) * 1000) / 10
}

/** The `d` attributes of four paths, `columns` wide and 100 high. Oldest on the left; y grows downwards. */
export interface Paths {
  /** A horizontal line at y = 25 through each column with a healthy check. */
  readonly healthy: string
  /** A horizontal line at y = 75 through each column with a failed check. */
  readonly failed: string
  /** A line through the medians, with a gap where there is none. */
  readonly median: string
  /** A vertical line in each column, from its median to its slowest check. */
  readonly slowest: string
}

/** @param newest the index of the bucket that counts now. */
export function pathsOf(buckets: readonly Bucket[], newest: number): Paths {
  const groups = groupsOf(buckets, newest)
  const hasHealthy = groups.map(group => group.some(bucket => bucket.medianMs !== undefined))
  const hasFailed = groups.map(group => group.some(bucket => Object.keys(bucket.failures).length > 0))
  const latencies = groups.map(latencyOf)
  return {
    healthy: runsOf(hasHealthy, 25),
    failed: runsOf(hasFailed, 75),
    median: lineOf(latencies.map(latency => latency?.medianY)),
    slowest: latencies
      .map((latency, x) => (latency ? `M${x} ${latency.medianY}V${latency.slowestY}` : ''))
      .join(''),
  }
}

/** The buckets of each column. A bucket stays in the same column, which moves left as a whole. */
function groupsOf(buckets: readonly Bucket[], newest: number): Bucket[][] {
  const groups = Array.from({ length: columns }, (): Bucket[] => [])
  const lastColumn = Math.floor(newest / bucketsPerColumn)
  for (const bucket of buckets) {
    const age = lastColumn - Math.floor(bucket.index / bucketsPerColumn)
    groups[columns - 1 - age]?.push(bucket)
  }
  return groups
}

function latencyOf(group: readonly Bucket[]) {
  const medians = group.flatMap(({ medianMs }) => medianMs ?? []).sort((a, b) => a - b)
  const median = medians[Math.floor(medians.length / 2)]
  if (median === undefined) return undefined
  const slowest = Math.max(...group.map(({ slowestMs = 0 }) => slowestMs))
  return { medianY: yOf(median), slowestY: yOf(slowest) }
}

function yOf(ms: number): number {
  return Math.round(100 - heightOf(ms))
}

/** One horizontal line for each run of marked columns. */
function runsOf(marks: readonly boolean[], y: number): string {
  return marks
    .map((mark, x) => {
      if (!mark || marks[x - 1]) return ''
      const end = marks.indexOf(false, x)
      return `M${x} ${y}h${(end < 0 ? marks.length : end) - x}`
    })
    .join('')
}

function lineOf(ys: readonly (number | undefined)[]): string {
  return ys
    .map((y, x) => {
      if (y === undefined) return ''
      // A line of length 0 is drawn as a dot, so a median without neighbours shows.
      return ys[x - 1] === undefined ? `M${x} ${y}h0` : `L${x} ${y}`
    })
    .join('')
}
