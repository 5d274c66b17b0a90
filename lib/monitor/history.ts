// Remembers what the checks found: an hour of buckets, and the last fifty changes.
import { checkMsOf, type Reason, type Verdict } from '../health/verdict.ts'
import { type Bucket, bucketMs, createWindow } from './window.ts'

export type State = 'healthy' | 'unhealthy'

/** Of a failure: whether it comes and goes, or stays. The alert rules and the runbook use the same words. */
export type Nature = 'intermittent' | 'sustained'

/** From how many changes of state, within how long, failures are intermittent. */
export const intermittent = { changes: 3, withinMs: 15 * 60_000 } as const

/** A state, from its first check to the next change. */
export interface Change {
  readonly at: Date
  readonly state: State
  /** Why it was unhealthy, in the order in which the outage showed them. */
  readonly reasons: readonly Reason[]
  /** Until the next change; of the newest: until now. */
  readonly heldMs: number
  /** What the first check found: no change, as nothing was known before. */
  readonly first: boolean
}

/** All that is known. Instants are by the wall clock as it goes now, durations are monotonic milliseconds. */
export interface Snapshot {
  readonly at: Date
  readonly uptimeMs: number
  /** Absent until a check has ended. */
  readonly last?: {
    readonly result: Verdict['result']
    readonly at: Date
    readonly agoMs: number
    /** Absent when requests ran out of time while their check went on. */
    readonly checkMs?: number
  }
  /** Absent while all is well. */
  readonly nature?: Nature
  /** How many changes of state there were in the last fifteen minutes, as far as they are remembered. */
  readonly recentChanges: number
  /** Newest first. */
  readonly changes: readonly Change[]
  /** Oldest first, and only those with a check; `at` is when it began. */
  readonly buckets: readonly (Bucket & { readonly at: Date })[]
}

export interface History {
  observe(verdict: Verdict): void
  read(): Snapshot
}

export interface HistoryOptions {
  /** Monotonic milliseconds: all durations, and what belongs to the last hour. */
  readonly now: () => number
  /** Wall clock, for labels alone: it may jump. */
  readonly date: () => Date
}

const changesKept = 50
/** The clocks drift; labels stay as they are until the wall clock has jumped by this much, milliseconds. */
const jumpMs = 1_000

/**
 * Tells failures that come and go from one that lasts; undefined while there is none.
 *
 * @param changesAgoMs how long ago the state changed, each time.
 */
export function natureOf(state: State, changesAgoMs: readonly number[]): Nature | undefined {
  if (countRecent(changesAgoMs) >= intermittent.changes) return 'intermittent'
  return state === 'unhealthy' ? 'sustained' : undefined
}

/** Makes an empty history. What `observe` costs does not depend on how much there was. */
export function createHistory({ now, date }: HistoryOptions): History {
  const startedAt = now()
  const hour = createWindow()
  const states: {
    readonly state: State
    readonly beganAt: number
    readonly first: boolean
    reasons: Reason[]
  }[] = []
  let result: Verdict['result'] | undefined
  // In an array, because V8 allocates for a number with decimals that a closure keeps.
  const last = new Float64Array(2)
  let clockAhead = Number.NaN

  return { observe, read }

  function observe(verdict: Verdict) {
    const at = now() - startedAt
    const checkMs = checkMsOf(verdict)
    hour.add(at, verdict.result, checkMs ?? 0)
    last[0] = at
    last[1] = checkMs ?? Number.NaN
    if (verdict.result === result) return
    result = verdict.result
    change(at, result)
  }

  function change(at: number, to: Verdict['result']) {
    const state = to === 'healthy' ? 'healthy' : 'unhealthy'
    if (states[0]?.state !== state) {
      states.unshift({ state, beganAt: at, first: states.length === 0, reasons: [] })
      states.length = Math.min(states.length, changesKept)
    }
    const reasons = states[0]?.reasons
    if (to !== 'healthy' && reasons && !reasons.includes(to)) reasons.push(to)
  }

  function read(): Snapshot {
    const at = now() - startedAt
    const dateOf = readClock(at)
    const newest = states[0]
    const [lastAt = 0, checkMs = Number.NaN] = last
    const ago = states.filter(({ first }) => !first).map(({ beganAt }) => at - beganAt)
    const nature = newest && natureOf(newest.state, ago)
    return {
      at: dateOf(at),
      uptimeMs: Math.round(at),
      ...(result && {
        last: {
          result,
          at: dateOf(lastAt),
          agoMs: Math.round(at - lastAt),
          ...(!Number.isNaN(checkMs) && { checkMs: hundredths(checkMs) }),
        },
      }),
      ...(nature && { nature }),
      recentChanges: countRecent(ago),
      changes: states.map(({ state, beganAt, first, reasons }, place) => {
        const endedAt = states[place - 1]?.beganAt ?? at
        return { at: dateOf(beganAt), state, reasons, heldMs: Math.round(endedAt - beganAt), first }
      }),
      buckets: hour.read(at).map(bucket => ({ at: dateOf(bucket.index * bucketMs), ...bucket })),
    }
  }

  /** Dates follow the wall clock as it goes now, all of them: they keep their order and their distances. */
  function readClock(at: number) {
    const ahead = date().getTime() - at
    if (!(Math.abs(ahead - clockAhead) < jumpMs)) clockAhead = ahead
    return (ms: number) => new Date(clockAhead + ms)
  }
}

function countRecent(changesAgoMs: readonly number[]): number {
  return changesAgoMs.filter(agoMs => agoMs <= intermittent.withinMs).length
}

function hundredths(ms: number): number {
  return Math.round(ms * 100) / 100
}
