// Counts the checks of the last hour, in buckets of ten seconds.
import type { Reason, Verdict } from '../health/verdict.ts'

/** The length of a bucket, milliseconds. */
export const bucketMs = 10_000
/** The number of buckets in an hour. */
export const bucketCount = 360

/** The checks of ten seconds. */
export interface Bucket {
  /** Its number: 0 is the bucket in which the clock started. */
  readonly index: number
  readonly checks: number
  /** How many checks failed, by reason; without the reasons that did not occur. */
  readonly failures: Readonly<Partial<Record<Reason, number>>>
  /** Median duration of the healthy checks, milliseconds, accurate to 5 %. Absent if there was none. */
  readonly medianMs?: number
  /** Duration of the slowest healthy check, milliseconds. Absent if there was none. */
  readonly slowestMs?: number
}

export interface Window {
  /** Counts a check that ended at `at` (milliseconds since the clock started) and took `checkMs`. */
  add(at: number, result: Verdict['result'], checkMs: number): void
  /** The buckets of the hour before `at` that have at least one check, oldest first. */
  read(at: number): Bucket[]
}

/** A bucket that is still counting. */
interface OpenBucket {
  readonly index: number
  checks: number
  readonly failures: Partial<Record<Reason, number>>
  slowestMs: number
  /** How many healthy checks took how long, in steps of an eighth of an octave. */
  readonly histogram: Uint32Array
}

/** The steps of the histogram reach from 0.05 ms to 110 s. */
const steps = { leastMs: 0.05, perOctave: 8, count: 169 }

/** Makes an empty window. It keeps an hour of buckets, however many checks there are. */
export function createWindow(): Window {
  let closed: Bucket[] = []
  let open = openBucket(0)

  return { add, read }

  function add(at: number, result: Verdict['result'], checkMs: number) {
    moveTo(at)
    open.checks += 1
    if (result === 'healthy') {
      const step = stepOf(checkMs)
      open.histogram[step] = (open.histogram[step] ?? 0) + 1
      open.slowestMs = Math.max(open.slowestMs, checkMs)
    } else {
      open.failures[result] = (open.failures[result] ?? 0) + 1
    }
  }

  function read(at: number) {
    moveTo(at)
    return open.checks > 0 ? [...closed, bucketOf(open)] : [...closed]
  }

  function moveTo(at: number) {
    const index = Math.floor(at / bucketMs)
    if (index <= open.index) return
    if (open.checks > 0) closed.push(bucketOf(open))
    closed = closed.filter(bucket => bucket.index > index - bucketCount)
    open = openBucket(index)
  }
}

function openBucket(index: number): OpenBucket {
  return { index, checks: 0, failures: {}, slowestMs: 0, histogram: new Uint32Array(steps.count) }
}

function bucketOf({ index, checks, failures, slowestMs, histogram }: OpenBucket): Bucket {
  const medianMs = medianOf(histogram)
  if (medianMs === undefined) return { index, checks, failures: { ...failures } }
  const slowest = hundredths(slowestMs)
  // The middle of a step may lie above every measured duration.
  const median = Math.min(hundredths(medianMs), slowest)
  return { index, checks, failures: { ...failures }, medianMs: median, slowestMs: slowest }
}

function stepOf(ms: number): number {
  const step = Math.floor(Math.log2(ms / steps.leastMs) * steps.perOctave)
  return Math.min(Math.max(step, 0), steps.count - 1)
}

/** The middle of the step that has the median check in it. */
function medianOf(histogram: Uint32Array): number | undefined {
  const checks = histogram.reduce((sum, count) => sum + count, 0)
  let rest = Math.ceil(checks / 2)
  const step = histogram.findIndex(count => {
    rest -= count
    return count > 0 && rest <= 0
  })
  return step < 0 ? undefined : steps.leastMs * 2 ** ((step + 0.5) / steps.perOctave)
}

function hundredths(ms: number): number {
  return Math.round(ms * 100) / 100
}
