// Graceful shutdown: report unhealthy, drain, finish requests in flight, close the database, exit.
import { codeOf } from '../error.ts'
import type { Log } from '../monitor/log.ts'
import { exitCodeOf, type StopSignal } from './signal.ts'

/** The steps of a shutdown, in this order. */
export interface StopSteps {
  /** Reports unhealthy from now on. The port stays open. */
  drain(): void
  /** Stops listening. Requests in flight get `graceMs` to finish. */
  closeServer(graceMs: number): Promise<void>
  /** Ends the session with the database. */
  closeDatabase(): Promise<void>
}

export interface ShutdownOptions {
  readonly steps: StopSteps
  /** How long the port stays open, so that load balancers see 503 and send no more requests. Milliseconds. */
  readonly drainMs: number
  /** Where SIGINT comes from: a person who pressed Ctrl-C waits for no drain, but a supervisor expects one. */
  readonly startedBy: 'person' | 'supervisor'
  /** Monotonic clock, milliseconds. */
  readonly now: () => number
  /** Ends the process. */
  readonly exit: (code: number) => void
  readonly log: Log
}

/** How long requests in flight have when the port closes. */
const graceMs = 1_000
/** A shutdown that takes this much longer than the drain ends with exit 1. */
const overdueMs = 3_000
/**
 * The same signal within this time is an echo, not a second signal. At Ctrl-C the terminal sends SIGINT to npm and to
 * its child, and npm passes its own on 0.6 ms later (npm 11). When a terminal closes, kernel and shell both send SIGHUP.
 */
const echoMs = 100

/**
 * Creates the handler for stop signals. The first signal runs the steps and exits 0, or 1 if they fail or take too
 * long. A second one exits immediately with 128 + its number.
 */
export function createShutdown(options: ShutdownOptions): (signal: StopSignal) => void {
  const { steps, drainMs, startedBy, now, exit, log } = options
  let first: { readonly signal: StopSignal; readonly at: number } | undefined

  return signal => {
    if (first) {
      const echo = signal !== 'SIGTERM' && signal === first.signal && now() - first.at < echoMs
      return echo ? undefined : exit(exitCodeOf(signal))
    }
    first = { signal, at: now() }
    const waitMs = signal === 'SIGINT' && startedBy === 'person' ? 0 : drainMs
    // Set first: a step that fails or hangs must not prevent it.
    setTimeout(overdue, waitMs + overdueMs)
    stop(signal, waitMs).then(() => exit(0), failed)
  }

  async function stop(signal: StopSignal, waitMs: number) {
    steps.drain()
    log('stopping', `${signal}: unhealthy from now on, stop in ${waitMs} ms`, {
      signal,
      drainMs: waitMs,
    })
    await new Promise(resolve => setTimeout(resolve, waitMs))
    await steps.closeServer(graceMs)
    await steps.closeDatabase()
    log('stopped', 'stopped')
  }

  function failed(error: unknown) {
    log('stop_failed', 'a step of the shutdown failed, exit 1', { code: codeOf(error) })
    exit(1)
  }

  function overdue() {
    log('stop_overdue', 'the shutdown takes too long, exit 1')
    exit(1)
  }
}
