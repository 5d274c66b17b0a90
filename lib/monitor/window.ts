// Counts an hour of checks in buckets of ten seconds, in memory that neither grows nor is allocated again.
import { type Reason, sentences, type Verdict } from '../health/verdict.ts'

/** How long a bucket is, and how many of them are kept: an hour. */
export const bucketMs = 10_000
export const bucketCount = 360

/** What the checks of one bucket found. */
export interface Bucket {
  /** Which one it is, counted from the start of the clock. */
  readonly index: number
  readonly checks: number
  /** Only reasons that there were. */
  readonly failures: Readonly<Partial<Record<Reason, number>>>
  /** Of the healthy checks, milliseconds; absent when there was none. The median is true to 5 %. */
  readonly medianMs?: number
  readonly slowestMs?: number
}

export interface Hour {
  /** Counts a check. `at` is monotonic milliseconds from zero, `checkMs` how long it took. */
  add(at: number, result: Verdict['result'], checkMs: number): void
  /** The buckets of the hour before `at` that have a check, oldest first. */
  read(at: number): Bucket[]
}

const reasons = Object.keys(sentences) as Reason[]
const results = ['healthy', ...reasons] as const
const rowOf = Object.fromEntries(results.map((result, row) => [result, row])) as Record<
  Verdict['result'],
  number
>

/** The durations of one bucket are counted in steps of an eighth of an octave, from 0.05 ms to 110 s. */
const steps = { leastMs: 0.05, perOctave: 8, count: 169 }

/** Makes an empty hour. Only the newest bucket has a histogram: of the others the median is known. */
export function createWindow(): Hour {
  const counts = new Uint32Array(bucketCount * results.length)
  const medians = new Float64Array(bucketCount)
  const slowest = new Float64Array(bucketCount)
  const histogram = new Uint32Array(steps.count)
  let newest = 0

  return { add, read }

  function add(at: number, result: Verdict['result'], checkMs: number) {
    moveTo(at)
    const slot = newest % bucketCount
    increment(counts, slot * results.length + rowOf[result])
    if (result !== 'healthy') return
    increment(histogram, stepOf(checkMs))
    if (checkMs > (slowest[slot] ?? 0)) slowest[slot] = checkMs
  }

  function read(at: number): Bucket[] {
    moveTo(at)
    medians[newest % bucketCount] = medianOf(histogram)
    const found: Bucket[] = []
    for (let index = Math.max(0, newest - bucketCount + 1); index <= newest; index += 1) {
      const bucket = bucketAt(index)
      if (bucket.checks > 0) found.push(bucket)
    }
    return found
  }

  /** Closes the newest bucket when its time is over, and empties those that nobody asked in since. */
  function moveTo(at: number) {
    const index = Math.floor(at / bucketMs)
    if (index <= newest) return
    medians[newest % bucketCount] = medianOf(histogram)
    histogram.fill(0)
    for (let empty = Math.max(newest + 1, index - bucketCount + 1); empty <= index; empty += 1) {
      const slot = empty % bucketCount
      counts.fill(0, slot * results.length, (slot + 1) * results.length)
      medians[slot] = 0
      slowest[slot] = 0
    }
    newest = index
  }

  /** In a plain loop: an hour of them is read for every reader. */
  function bucketAt(index: number): Bucket {
    const slot = index % bucketCount
    const failures: Partial<Record<Reason, number>> = {}
    const healthy = counts[slot * results.length] ?? 0
    let checks = healthy
    for (const [place, reason] of reasons.entries()) {
      const count = counts[slot * results.length + 1 + place] ?? 0
      if (count > 0) failures[reason] = count
      checks += count
    }
    if (healthy === 0) return { index, checks, failures }
    const slowestMs = hundredths(slowest[slot] ?? 0)
    // The middle of a step may lie above all that was measured.
    return {
      index,
      checks,
      failures,
      medianMs: Math.min(hundredths(medians[slot] ?? 0), slowestMs),
      slowestMs,
    }
  }
}

function stepOf(ms: number): number {
  const step = Math.floor(Math.log2(ms / steps.leastMs) * steps.perOctave)
  return Math.min(Math.max(step, 0), steps.count - 1)
}

/** The middle of the step in which the middle check lies; 0 when there is none. */
function medianOf(histogram: Uint32Array): number {
  const all = histogram.reduce((sum, count) => sum + count, 0)
  let left = Math.ceil(all / 2)
  const step = histogram.findIndex(count => {
    left -= count
    return count > 0 && left <= 0
  })
  return step < 0 ? 0 : steps.leastMs * 2 ** ((step + 0.5) / steps.perOctave)
}

function hundredths(ms: number): number {
  return Math.round(ms * 100) / 100
}

function increment(counts: Uint32Array, index: number) {
  counts[index] = (counts[index] ?? 0) + 1
}
