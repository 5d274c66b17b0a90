// The order of a stop: say no, wait to be believed, finish, let go.

import { codeOf } from '../error.ts'
import type { Log } from '../monitor/log.ts'

/** What a stop does, in this order. */
export interface StopSteps {
  /** Report unhealthy from now on. The port stays open. */
  drain(): void
  /** Stop listening, finish what is in flight within `graceMs`, cut the rest. */
  closeServer(graceMs: number): Promise<void>
  /** End the session with the database. */
  closeDatabase(): Promise<void>
}

export interface ShutdownOptions {
  readonly steps: StopSteps
  /** How long the port goes on accepting, milliseconds: a balancer must have asked, and been told no, by then. */
  readonly drainMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Ends the process. */
  readonly exit: (code: number) => void
  readonly log: Log
}

/** How a stop was asked for. SIGINT is somebody at a terminal: nobody drains, nobody waits. */
export type StopSignal = 'SIGTERM' | 'SIGINT'

/** What is in flight when the port closes gets this long, milliseconds. */
const graceMs = 1_000
/** A stop that takes this much longer than the drain ends with exit 1, milliseconds. */
const overdueMs = 3_000
/** npm hands on a Ctrl-C that the terminal has sent us, too, 0.6 ms later (npm 11); a person is slower. */
const echoMs = 100
const signalNumbers = { SIGINT: 2, SIGTERM: 15 } as const

/**
 * Makes the handler of stop signals. The first one runs the steps and exits 0, or 1 when they fail or take
 * too long; a second one exits at once with 128 + its number.
 */
export function createShutdown({
  steps,
  drainMs,
  now,
  exit,
  log,
}: ShutdownOptions): (signal: StopSignal) => void {
  let first: { readonly signal: StopSignal; readonly at: number } | undefined

  return signal => {
    if (first) {
      const echo = signal === 'SIGINT' && first.signal === 'SIGINT' && now() - first.at < echoMs
      return echo ? undefined : exit(128 + signalNumbers[signal])
    }
    first = { signal, at: now() }
    const waitMs = signal === 'SIGINT' ? 0 : drainMs
    // Set before anything else is done: whatever follows might never come back.
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
