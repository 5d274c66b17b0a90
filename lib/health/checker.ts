// Runs the checks of one source for all requests, and stops them when the shutdown starts.
import type { Now } from './deadline.ts'
import type { Life } from './phase.ts'
import { type Check, createProbe } from './probe.ts'
import type { Source } from './source.ts'
import type { Verdict } from './verdict.ts'

export interface CheckerOptions {
  readonly source: Source
  readonly life: Life
  /** Every request is answered within this many milliseconds. */
  readonly timeoutMs: number
  readonly now: Now
  /** Called with the verdict of each check, and of each deadline that passed during one. */
  readonly onVerdict: (verdict: Verdict) => void
}

export interface Checker {
  /** Answers one request. */
  readonly check: Check
  /** From now on every request, also each that waits, is told that the server is shutting down. No check starts. */
  drain(): void
}

/** Makes a checker. It does nothing until the first request. */
export function createChecker({ source, life, timeoutMs, now, onVerdict }: CheckerOptions): Checker {
  /** A check that our own shutdown cut short says nothing about the database. */
  const observe = (verdict: Verdict) => {
    if (life.phase() === 'serving') onVerdict(verdict)
    return verdict
  }
  const probe = createProbe({
    runCheck: async (...task) => observe(await source.check(...task)),
    timedOut: () => observe(source.timedOut()),
    timeoutMs,
    phase: life.phase,
    now,
  })
  return { check: probe.check, drain }

  function drain() {
    life.enter('draining')
    probe.stop()
  }
}
