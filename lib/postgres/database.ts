// Asks PostgreSQL one question at a time: which session gets it, when a new one is opened, when to give up.

import { codedError } from '../error.ts'
import type { Reason, Verdict } from '../health/verdict.ts'
import { attemptSession } from './attempt.ts'
import type { CertifiedConninfo } from './conninfo.ts'
import { createLookup } from './lookup.ts'
import { Expired, reasonOf } from './reason.ts'
import type { Session } from './session.ts'

export interface DatabaseOptions {
  /** Called for every new session, so that a rotated password is picked up; may throw. */
  readonly readConninfo: () => CertifiedConninfo
  /** What one check has, milliseconds. */
  readonly timeoutMs: number
  /** How long an attempt to connect may go on after the check that began it has answered, milliseconds. */
  readonly connectTimeoutMs: number
  /** A session older than this is replaced by the next check, milliseconds. */
  readonly sessionMaxAgeMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

export interface Database {
  /**
   * Runs one check: SELECT 1 on a session that stands, or on a new one. Settles by `until` (milliseconds of
   * `now`), never rejects. One call at a time.
   */
  ask(until: number): Promise<Verdict>
  /** What it means for a request when its time is up now. */
  expiry(): Reason
  /** How many sessions were opened: those that stood, not attempts. */
  connectionsOpened(): number
  /** Throws the session away; the next check opens another. */
  reset(error: Error): void
  /** Ends the session politely, within half a second, whatever it is doing. */
  close(): Promise<void>
}

/** At most ten attempts a second reach a server that refuses, however many requests come. */
const attemptSpacingMs = 100
/** How long the server may take to close after our Terminate, before we do. */
const goodbyeMs = 100
/** What a session that stands gets at least: a request that comes late must not cost a good one its life. */
const leastPatienceMs = 100
/** How long `close` waits for a statement under way. */
const closeMs = 500

/** Makes the database; the first `ask` opens a session. */
export function createDatabase(options: DatabaseOptions): Database {
  const { now } = options
  const lookup = createLookup()
  // Half, so that a second address gets its turn; whole, as net.connect throws on 1000.5.
  const addressTimeoutMs = Math.floor(Math.min(options.timeoutMs, options.connectTimeoutMs) / 2)
  let session: Session | undefined
  let opening: Promise<Session> | undefined
  let connecting: Session | undefined
  let attemptedAt = Number.NEGATIVE_INFINITY
  let opened = 0
  let closed = false

  return { ask, expiry, connectionsOpened: () => opened, reset, close }

  async function ask(until: number): Promise<Verdict> {
    const beganAt = now()
    if (session && now() - session.openedAt > options.sessionMaxAgeMs) {
      await retire(session, Math.min(goodbyeMs, until - now()))
    }
    if (session?.alive()) {
      // Half the time for a session that may have been forgotten by a NAT; the rest is for a fresh one.
      const patienceMs = Math.max((until - now()) / 2, leastPatienceMs)
      const verdict = await query(session, Math.min(now() + patienceMs, until))
      if (verdict.result === 'healthy' || verdict.result === 'bad_result') return verdict
    }
    return askOnNewSession(until, beganAt)
  }

  /** What the check lost on the session before is part of how long it had to wait for this one. */
  async function askOnNewSession(until: number, beganAt: number): Promise<Verdict> {
    for (;;) {
      const own = opening === undefined
      try {
        const fresh = await within(opening ?? open(), until, 'connect_timeout')
        const connectMs = now() - beganAt
        return { ...(await query(fresh, until)), connectMs }
      } catch (error) {
        // The failure of an attempt that began before this check says nothing about now: it makes its own.
        if (own || now() >= until) return { result: reasonOf(error), error, connectMs: now() - beganAt }
      }
    }
  }

  /** Sends one statement; a session that does anything but answer it with 1 is thrown away. */
  async function query(asked: Session, until: number): Promise<Verdict> {
    const answered = within(asked.select(), until, 'timeout')
    // The answers of the last check are written now, in this turn: their time is not the statement's.
    await undefined
    const beganAt = now()
    try {
      const isOne = await answered
      const queryMs = now() - beganAt
      if (isOne) return { result: 'healthy', queryMs }
      drop(asked, new Error('Unexpected query result'))
      return { result: 'bad_result', queryMs }
    } catch (error) {
      drop(asked, error as Error)
      return { result: reasonOf(error), error, queryMs: now() - beganAt }
    }
  }

  /** One attempt to connect. It may outlive the check that began it: the next ones wait on it, too. */
  function open(): Promise<Session> {
    opening = connect().finally(() => {
      opening = undefined
    })
    // When every check that waited has answered, nobody holds its failure.
    opening.catch(() => {})
    return opening
  }

  async function connect(): Promise<Session> {
    const pauseMs = attemptedAt + attemptSpacingMs - now()
    if (pauseMs > 0) await new Promise(resolve => setTimeout(resolve, pauseMs))
    if (closed) throw new Expired('connect_timeout')
    attemptedAt = now()
    const conninfo = options.readConninfo()
    if (session) drop(session, codedError('CONNECTION_CLOSED'))
    const fresh = attemptSession(conninfo, { lookup, addressTimeoutMs }, attemptedAt)
    connecting = fresh
    try {
      await within(fresh.ready, attemptedAt + options.connectTimeoutMs, 'connect_timeout')
      session = fresh
      opened += 1
      return fresh
    } catch (error) {
      fresh.destroy(error as Error)
      throw error
    } finally {
      connecting = undefined
    }
  }

  /** Says goodbye to a session and waits until the server has closed it: there is never a second one. */
  async function retire(old: Session, patienceMs: number) {
    if (session === old) session = undefined
    await within(old.end(), now() + patienceMs, 'timeout').catch(error => old.destroy(error))
  }

  function drop(old: Session, error: Error) {
    if (session === old) session = undefined
    old.destroy(error)
  }

  /**
   * Settles as `work` does, or rejects with Expired at `until`. When the event loop was stalled past that, what
   * already lies in the socket's buffer is read first: setImmediate comes after I/O.
   */
  function within<T>(work: Promise<T>, until: number, reason: Expired['reason']): Promise<T> {
    return new Promise((resolve, reject) => {
      const expire = () => reject(new Expired(reason))
      const timer = setTimeout(() => setImmediate(expire), Math.max(0, Math.ceil(until - now())))
      work.then(resolve, reject).finally(() => clearTimeout(timer))
    })
  }

  function expiry(): Reason {
    return opening ? 'connect_timeout' : 'timeout'
  }

  function reset(error: Error) {
    connecting?.destroy(error)
    if (session) drop(session, error)
  }

  async function close() {
    closed = true
    connecting?.destroy(new Expired('connect_timeout'))
    if (session) await retire(session, closeMs)
  }
}
