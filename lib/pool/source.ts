// Runs the check function of a service: within the deadline, and with a bounded number of pool connections.
import { afterInput, atDeadline, type Now } from '../health/deadline.ts'
import type { Source } from '../health/source.ts'
import { type Reason, sentences, shutdownVerdict, type Verdict } from '../health/verdict.ts'
import { GaveUp, poolReasonOf, UnexpectedResult } from './reason.ts'

/**
 * Sends one query through the pool of the service. A resolved promise means healthy, unless the value is `false`. A
 * rejected promise means unhealthy.
 */
export interface HealthCheck {
  /**
   * @param signal aborted when no request waits any longer: at the deadline, or on shutdown. Give the connection up then,
   * and reject with `signal.reason`. A value that it resolves with after that does not count.
   */
  (signal: AbortSignal): PromiseLike<unknown>
  /**
   * What the check waits for now, as the reason for a request that times out. Without it, or if it throws or returns
   * anything else, the reason is `timeout`.
   */
  readonly timedOut?: () => Reason
}

export interface PoolSourceOptions {
  readonly check: HealthCheck
  /** The value that the check must resolve with, compared by `Object.is`. Default: anything but `false`. */
  readonly expect?: string | number | bigint | boolean | null
  /** How many calls of `check` may be unsettled at the same time. Each may hold a connection of the pool. */
  readonly maxPending: number
  readonly now: Now
}

export interface PoolSource extends Source {
  /** Aborts the running check. From now on every verdict is `shutdownVerdict`, and the function is not called. */
  stop(): void
}

/** What became of one call. */
type Outcome = Pick<Verdict, 'result' | 'error'>

/** At most ten queries per second reach a database that is unhealthy, however many requests arrive. */
const spacingMs = 100

/** Makes the source. It holds no timer unless a check is running. */
export function createPoolSource({ check, expect, maxPending, now }: PoolSourceOptions): PoolSource {
  const pending = new Set<Promise<unknown>>()
  let startableAt = Number.NEGATIVE_INFINITY
  let stopped = false
  /** Ends a wait for a turn: a call has settled, or the source has stopped. */
  let wake = () => {}
  /** Ends the running call, on shutdown. */
  let abort = () => {}

  return { check: run, timedOut, stop }

  async function run(until: number): Promise<Verdict> {
    while (!stopped && now() < until) {
      if (now() < startableAt) await sleep(Math.min(startableAt, until))
      // Calls that timed out may still hold connections.
      else if (pending.size >= maxPending) await sleep(until)
      else return call(until)
    }
    return stopped ? shutdownVerdict : { result: 'timeout', by: 'check' }
  }

  /** Resolves when `until` has passed, or earlier, when `wake` is called. */
  function sleep(until: number): Promise<void> {
    return new Promise(resolve => {
      const cancel = atDeadline(until, now, resolve)
      wake = () => {
        cancel()
        resolve()
      }
    })
  }

  async function call(until: number): Promise<Verdict> {
    const startedAt = now()
    const controller = new AbortController()
    const work = start(check, controller.signal)
    pending.add(work)
    // Handles its rejection, too, when nothing waits for it any more.
    work.then(forget, forget)
    function forget() {
      pending.delete(work)
      wake()
    }
    const outcome = await outcomeOf(work, controller, until)
    abort = () => {}
    const queryMs = now() - startedAt
    if (stopped || outcome === undefined) return shutdownVerdict
    const verdict: Verdict = { ...outcome, by: 'check', queryMs }
    startableAt = verdict.result === 'healthy' ? Number.NEGATIVE_INFINITY : startedAt + spacingMs
    return verdict
  }

  /**
   * Aborts at `until`. After that, only the rejection of a check that obeys the signal is used; any other check has timed
   * out. Resolves with undefined if the source stops first.
   */
  function outcomeOf(
    work: Promise<unknown>,
    controller: AbortController,
    until: number,
  ): Promise<Outcome | undefined> {
    return new Promise(resolve => {
      let waitedFor: Reason | undefined
      let cancel = atDeadline(until, now, () => {
        const result = reasonNow()
        waitedFor = result
        controller.abort(new GaveUp(result))
        cancel = afterInput(() => resolve({ result }))
      })
      abort = () => {
        cancel()
        controller.abort(new GaveUp('stopping'))
        resolve(undefined)
      }
      work
        .then(
          // After the abort the value may come from the abort itself: `Promise.race([query, once(signal, 'abort')])`.
          value => resolve(waitedFor === undefined ? resultOf(value) : { result: waitedFor }),
          error => resolve(failureOf(error, waitedFor)),
        )
        .finally(() => cancel())
    })
  }

  function resultOf(value: unknown): Outcome {
    const isExpected = expect === undefined ? value !== false : Object.is(value, expect)
    return { result: isExpected ? 'healthy' : 'bad_result' }
  }

  function timedOut(): Verdict {
    return { result: reasonNow(), by: 'deadline' }
  }

  /** What a check that times out now has waited for. */
  function reasonNow(): Reason {
    try {
      const reason: unknown = check.timedOut?.()
      if (isReason(reason)) return reason
    } catch {
      // It is called from timers: what it throws would end the process.
    }
    return 'timeout'
  }

  function stop() {
    stopped = true
    abort()
    wake()
  }
}

function isReason(thing: unknown): thing is Reason {
  return typeof thing === 'string' && Object.hasOwn(sentences, thing)
}

/** Calls the check. All that it throws, also immediately, becomes a rejection. */
async function start(check: HealthCheck, signal: AbortSignal): Promise<unknown> {
  const work: PromiseLike<unknown> | undefined | null = check(signal)
  // A function without `return` would be healthy forever.
  if (typeof work?.then !== 'function') throw new UnexpectedResult('The check did not return a promise')
  return work
}

/** After an abort, the reason is what the check waited for, unless its error has a reason. */
function failureOf(error: unknown, waitedFor: Reason | undefined): Outcome {
  const reason = poolReasonOf(error)
  return { result: reason === 'unknown' ? (waitedFor ?? reason) : reason, error }
}
