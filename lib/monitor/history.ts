// Remembers what the checks found: the last hour in buckets, and the last fifty changes of state.
import { checkMsOf, type Reason, type Verdict } from '../health/verdict.ts'
import { type Clock, type ClockOptions, createClock } from './clock.ts'
import { type Bucket, bucketMs, createWindow } from './window.ts'

export type State = 'healthy' | 'unhealthy'

/**
 * What kind of failure it is: one that lasts, one that comes and goes, or one that is too new to tell. The
 * alerts in deploy/prometheus/rules.yml use the same words and the same limits.
 */
export type Nature = 'sustained' | 'intermittent' | 'recent'

/** A failure is intermittent from this many changes of state within this time. */
export const intermittent = { changes: 3, withinMs: 15 * 60_000 } as const
/** A failure is sustained after this many milliseconds: the `for` of the alert PgHealthDatabaseUnhealthy. */
export const sustainedAfterMs = 2 * 60_000

/** A state, from the check that first found it to the next change. */
export interface Change {
  readonly at: Date
  readonly state: State
  /** Why it was unhealthy, in the order in which the reasons appeared. */
  readonly reasons: readonly Reason[]
  /** How long the state lasted, or has lasted so far, milliseconds. */
  readonly heldMs: number
  /** Whether this is the first result since the start, and so no change. */
  readonly first: boolean
}

/** Everything that is remembered. The page shows it, and /history sends it as JSON. */
export interface Snapshot {
  readonly at: Date
  readonly uptimeMs: number
  /** The last check. Absent until a check has ended. */
  readonly last?: {
    readonly result: Verdict['result']
    readonly at: Date
    readonly agoMs: number
    /** Absent if its requests timed out while the check was still running. */
    readonly checkMs?: number
  }
  /** Absent while there is no failure. */
  readonly nature?: Nature
  /** How many changes of state there were within the last fifteen minutes; at most 50 are remembered. */
  readonly recentChanges: number
  /** Newest first. */
  readonly changes: readonly Change[]
  /** The buckets that have a check, oldest first. `at` is the start of the bucket. */
  readonly buckets: readonly (Bucket & { readonly at: Date })[]
}

export interface History {
  /** Records a verdict. */
  observe(verdict: Verdict): void
  /** Returns what is remembered, as of now. */
  read(): Snapshot
}

/** A state and when it began, in milliseconds of the clock. */
interface Period {
  readonly state: State
  readonly beganAt: number
  readonly first: boolean
  readonly reasons: Reason[]
}

interface Check {
  readonly result: Verdict['result']
  readonly at: number
  readonly checkMs: number | undefined
}

const periodsKept = 50

/**
 * Tells what kind of failure there is; undefined if there is none.
 *
 * @param heldMs how long the state has lasted.
 * @param recentChanges how many changes there were within `intermittent.withinMs`.
 */
export function natureOf(state: State, heldMs: number, recentChanges: number): Nature | undefined {
  if (state === 'unhealthy' && heldMs >= sustainedAfterMs) return 'sustained'
  if (recentChanges >= intermittent.changes) return 'intermittent'
  return state === 'unhealthy' ? 'recent' : undefined
}

/** Makes an empty history. Its size has a limit. */
export function createHistory(options: ClockOptions): History {
  const clock = createClock(options)
  const hour = createWindow()
  /** Newest first. */
  const periods: Period[] = []
  let last: Check | undefined

  return { observe, read }

  function observe(verdict: Verdict) {
    const at = clock.elapsedMs()
    const checkMs = checkMsOf(verdict)
    hour.add(at, verdict.result, checkMs ?? 0)
    last = { result: verdict.result, at, checkMs }
    recordState(last)
  }

  function recordState({ result, at }: Check) {
    const state = result === 'healthy' ? 'healthy' : 'unhealthy'
    if (periods[0]?.state !== state) {
      periods.unshift({ state, beganAt: at, first: periods.length === 0, reasons: [] })
      periods.length = Math.min(periods.length, periodsKept)
    }
    const reasons = periods[0]?.reasons
    if (result !== 'healthy' && !reasons?.includes(result)) reasons?.push(result)
  }

  function read(): Snapshot {
    const at = clock.elapsedMs()
    const [newest] = periods
    const recentChanges = periods.filter(period => isRecent(period, at)).length
    const nature = newest && natureOf(newest.state, at - newest.beganAt, recentChanges)
    return {
      at: clock.dateOf(at),
      uptimeMs: Math.round(at),
      ...(last && { last: lastOf(last, at, clock) }),
      ...(nature && { nature }),
      recentChanges,
      changes: periods.map((period, place) => changeOf(period, periods[place - 1]?.beganAt ?? at, clock)),
      buckets: hour.read(at).map(bucket => ({ at: clock.dateOf(bucket.index * bucketMs), ...bucket })),
    }
  }
}

function lastOf({ result, at, checkMs }: Check, readAt: number, clock: Clock): NonNullable<Snapshot['last']> {
  const rounded = checkMs === undefined ? {} : { checkMs: Math.round(checkMs * 100) / 100 }
  return { result, at: clock.dateOf(at), agoMs: Math.round(readAt - at), ...rounded }
}

function changeOf({ state, beganAt, first, reasons }: Period, endedAt: number, clock: Clock): Change {
  const heldMs = Math.round(endedAt - beganAt)
  return { at: clock.dateOf(beganAt), state, reasons: [...reasons], heldMs, first }
}

function isRecent({ first, beganAt }: Period, at: number): boolean {
  return !first && at - beganAt <= intermittent.withinMs
}
