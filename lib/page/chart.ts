// Draws an hour of checks: paths for a strip of availability and a plot of latency.
import { type Bucket, bucketCount } from '../monitor/window.ts'

/** Both are this many units wide, one for three buckets: half a minute is as much as a telephone can show. */
export const columns = 120
const bucketsPerColumn = bucketCount / columns

/** Where on the plot a duration lies, from 0 at the bottom to 100: a logarithm, so that 1 ms and 2 s both show. */
export function heightOf(ms: number): number {
  const [least, most] = [0.5, 5_000]
  const part = Math.log(Math.max(ms, least) / least) / Math.log(most / least)
  return Math.round(Math.min(part, 1) * 1000) / 10
}

/** The `d` of four paths, on `columns` units by 100; y grows downwards. Oldest left, the present right. */
export interface Chart {
  /** Horizontal lines at the given heights, for columns with a check that was healthy, and with one that failed. */
  readonly healthy: string
  readonly failed: string
  /** A line through the medians, broken where there is none. */
  readonly median: string
  /** A vertical line in each column, from its median up to the slowest check. */
  readonly slowest: string
}

/** @param newest the index of the bucket that is filled now. */
export function chartOf(buckets: readonly Bucket[], newest: number): Chart {
  const last = Math.floor(newest / bucketsPerColumn)
  const groups = Array.from({ length: columns }, (): Bucket[] => [])
  for (const bucket of buckets) {
    // A bucket belongs to the same column as long as it is shown, which moves to the left as a whole.
    groups[columns - 1 - last + Math.floor(bucket.index / bucketsPerColumn)]?.push(bucket)
  }
  const latencies = groups.map(latencyOf)
  return {
    healthy: runsOf(
      groups.map(group => group.some(bucket => bucket.medianMs !== undefined)),
      25,
    ),
    failed: runsOf(
      groups.map(group => group.some(bucket => Object.keys(bucket.failures).length > 0)),
      75,
    ),
    median: lineOf(latencies.map(latency => latency?.median)),
    slowest: latencies
      .map((latency, x) => (latency ? `M${x} ${latency.median}V${latency.slowest}` : ''))
      .join(''),
  }
}

/** As y, for all buckets of a column. */
function latencyOf(group: readonly Bucket[]) {
  const medians = group.flatMap(({ medianMs }) => medianMs ?? []).sort((a, b) => a - b)
  const median = medians[Math.floor(medians.length / 2)]
  if (median === undefined) return undefined
  const slowest = Math.max(...group.map(({ slowestMs = 0 }) => slowestMs))
  return { median: yOf(median), slowest: yOf(slowest) }
}

function yOf(ms: number): number {
  return Math.round(100 - heightOf(ms))
}

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
      // A line to itself shows a median that stands alone.
      return ys[x - 1] === undefined ? `M${x} ${y}h0` : `L${x} ${y}`
    })
    .join('')
}
