// Runs a check: decides which session gets the query, when to open a new one, when to give up.
import { codedError } from '../error.ts'
import { withDeadline } from '../health/deadline.ts'
import type { Source } from '../health/source.ts'
import type { Verdict } from '../health/verdict.ts'
import { type AttemptOptions, createAttempts } from './attempt.ts'
import { Expired, reasonOf } from './reason.ts'
import type { Session } from './session.ts'

export interface DatabaseOptions extends AttemptOptions {
  /** The next check replaces a session that is older than this, milliseconds. */
  readonly sessionMaxAgeMs: number
}

/** A source that sends SELECT 1 on the open session, or on a new one. */
export interface Database extends Source {
  /** How many sessions have been opened. Failed attempts do not count. */
  connectionsOpened(): number
  /** Drops the session and any attempt to open one; the next check opens another. */
  reset(error: Error): void
  /** Ends the session politely, within half a second, whatever it is doing. */
  close(): Promise<void>
}

/** The server gets this long to close the connection after our Terminate; then we close it. */
const terminateMs = 100
/** Minimum time for an open session: a request with little time left must not drop a healthy session. */
const minPatienceMs = 100
/** How long `close` waits for a running query. */
const closeMs = 500

/** Makes the database. The first `check` opens a session. */
export function createDatabase(options: DatabaseOptions): Database {
  const { now } = options
  const attempts = createAttempts(options)
  let session: Session | undefined
  let opened = 0

  return { check, timedOut, connectionsOpened: () => opened, reset, close }

  async function check(until: number): Promise<Verdict> {
    const startedAt = now()
    if (session && now() - session.openedAt > options.sessionMaxAgeMs) {
      await retire(session, Math.min(terminateMs, until - now()))
    }
    // An idle session that died is replaced within the same check.
    if (session && !session.isOpen()) drop(session, codedError('CONNECTION_CLOSED'))
    if (session) {
      // Half of the time: a firewall may have forgotten this connection. The other half is for a new session.
      const patienceMs = Math.max((until - now()) / 2, minPatienceMs)
      const verdict = await query(session, Math.min(now() + patienceMs, until))
      if (verdict.result === 'healthy' || verdict.result === 'bad_result') return verdict
    }
    return checkOnNewSession(until, startedAt)
  }

  /** `connectMs` counts from the start of the check: the time lost on a silent session is part of it. */
  async function checkOnNewSession(until: number, startedAt: number): Promise<Verdict> {
    for (;;) {
      const isOwn = !attempts.isRunning()
      try {
        const timeout = () => new Expired('connect_timeout')
        const fresh = await withDeadline(attempts.join(keep), until, now, timeout)
        const connectMs = now() - startedAt
        return { ...(await query(fresh, until)), connectMs }
      } catch (error) {
        // An attempt that started before this check says nothing about now: if it failed, the check makes its own.
        if (isOwn || now() >= until)
          return { result: reasonOf(error), by: 'check', error, connectMs: now() - startedAt }
      }
    }
  }

  /** Sends one query. Drops the session unless the result is 1. */
  async function query(asked: Session, until: number): Promise<Verdict> {
    // The driver sends a query in the next turn of the event loop. What else we do in this turn is not query time.
    let sentAt = now()
    const sending = setImmediate(() => {
      sentAt = now()
    })
    try {
      const isOne = await withDeadline(asked.select(), until, now, () => new Expired('timeout'))
      const queryMs = now() - sentAt
      if (isOne) return { result: 'healthy', by: 'check', queryMs }
      drop(asked, new Error('Unexpected query result'))
      return { result: 'bad_result', by: 'check', queryMs }
    } catch (error) {
      clearImmediate(sending)
      drop(asked, error as Error)
      return { result: reasonOf(error), by: 'check', error, queryMs: now() - sentAt }
    }
  }

  function keep(fresh: Session) {
    session = fresh
    opened += 1
  }

  /** Ends a session and waits until the server has closed it: there is never a second one at the same time. */
  async function retire(old: Session, patienceMs: number) {
    if (session === old) session = undefined
    const timeout = () => new Expired('timeout')
    await withDeadline(old.end(), now() + patienceMs, now, timeout).catch(error => old.destroy(error))
  }

  function drop(old: Session, error: Error) {
    if (session === old) session = undefined
    old.destroy(error)
  }

  function timedOut(): Verdict {
    return { result: attempts.isRunning() ? 'connect_timeout' : 'timeout', by: 'deadline' }
  }

  function reset(error: Error) {
    attempts.abort(error)
    if (session) drop(session, error)
  }

  async function close() {
    attempts.abort(codedError('CONNECTION_DESTROYED'))
    if (session) await retire(session, closeMs)
  }
}
