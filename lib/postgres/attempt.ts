// Opens sessions: one attempt at a time, never more than ten per second.

import type { CertifiedConninfo } from '../conninfo/conninfo.ts'
import { codedError } from '../error.ts'
import type { Now } from '../health/deadline.ts'
import type { Phase } from '../health/phase.ts'
import { withDeadline } from './expiry.ts'
import { createHosts } from './hosts.ts'
import { createLookup } from './lookup.ts'
import type { Opening, Session } from './session.ts'

export interface AttemptOptions {
  /** Called for every attempt, so that a rotated password is picked up. May throw ConfigError. */
  readonly readConninfo: () => CertifiedConninfo
  /** Every request is answered within this many milliseconds. */
  readonly timeoutMs: number
  /** How long an attempt may take, milliseconds. It may outlive the check that started it. */
  readonly connectTimeoutMs: number
  readonly phase: () => Phase
  readonly now: Now
}

export interface Attempts {
  /**
   * Joins the running attempt, or starts one. `onOpen` gets the session even if the caller stopped waiting. Rejects with
   * the raw error of the attempt.
   */
  join(onOpen: (session: Session) => void): Promise<Session>
  isRunning(): boolean
  /** Ends the running attempt, if there is one. */
  abort(error: Error): void
}

/** At most ten attempts per second reach a server that refuses connections, however many requests arrive. */
const spacingMs = 100

/** Makes the attempts; the first `join` starts one. */
export function createAttempts({
  readConninfo,
  timeoutMs,
  connectTimeoutMs,
  phase,
  now,
}: AttemptOptions): Attempts {
  // Half, so that a second address or host gets its turn. A whole number, because net.connect throws on 1000.5.
  const addressTimeoutMs = Math.floor(Math.min(timeoutMs, connectTimeoutMs) / 2)
  const hosts = createHosts({ lookup: createLookup(), addressTimeoutMs, now })
  let running: Promise<Session> | undefined
  let current: Opening | undefined
  let startedAt = Number.NEGATIVE_INFINITY

  return { join, isRunning: () => running !== undefined, abort: error => current?.destroy(error) }

  function join(onOpen: (session: Session) => void): Promise<Session> {
    if (running) return running
    running = attempt(onOpen).finally(() => {
      running = undefined
    })
    // If every check that waited has timed out by then, nothing else handles the rejection.
    running.catch(() => {})
    return running
  }

  async function attempt(onOpen: (session: Session) => void): Promise<Session> {
    const pauseMs = startedAt + spacingMs - now()
    if (pauseMs > 0) await new Promise(resolve => setTimeout(resolve, pauseMs))
    if (phase() === 'closing') throw codedError('CONNECTION_DESTROYED')
    startedAt = now()
    const until = startedAt + connectTimeoutMs
    const opening = hosts.open(readConninfo(), startedAt, until)
    current = opening
    try {
      const session = await withDeadline(opening.session, until, now, 'connect_timeout')
      onOpen(session)
      return session
    } catch (error) {
      opening.destroy(error as Error)
      throw error
    } finally {
      current = undefined
    }
  }
}
