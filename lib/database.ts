// Asks PostgreSQL one question at a time: which session gets it, when a new one is opened, when to give up.
import { createLookup, type DialOptions } from './dial.ts'
import { Expired, reasonOf } from './failure.ts'
import type { Reason, Verdict } from './health.ts'
import { openSession, type Session } from './session.ts'
import type { Target } from './target.ts'

export interface DatabaseOptions {
  /** Called for every new session, so that a rotated password is picked up; may throw. */
  readonly readTarget: () => Target & { readonly rootCert: string | undefined }
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
  /** Throws the session away; the next check opens another. */
  reset(error: Error): void
  /** Ends the session politely, whatever it is doing within half a second. */
  close(): Promise<void>
}

/** A storm of requests costs a server that refuses or authenticates ten attempts a second, not thousands. */
const attemptSpacingMs = 100
/** How long the server may take to close after our Terminate, before we do. */
const goodbyeMs = 100
/** How long `close` waits for a statement under way. */
const closeMs = 500

/** Makes the database; the first `ask` opens a session. */
export function createDatabase(options: DatabaseOptions): Database {
  const { now } = options
  const lookup = createLookup()
  let session: Session | undefined
  let opening: Promise<Session> | undefined
  let candidate: Session | undefined
  let attemptedAt = Number.NEGATIVE_INFINITY
  let closed = false

  return { ask, expiry, reset, close }

  async function ask(until: number): Promise<Verdict> {
    if (session && now() - session.openedAt > options.sessionMaxAgeMs) await retire(session, goodbyeMs)
    if (session?.alive()) {
      // Half the time for a session that may have been forgotten by a NAT; the rest is for a fresh one.
      const verdict = await put(session, (now() + until) / 2)
      if (verdict.result === 'healthy' || verdict.result === 'bad_result') return verdict
    }
    return askAnew(until)
  }

  async function askAnew(until: number): Promise<Verdict> {
    const beganAt = now()
    for (;;) {
      const own = opening === undefined
      opening ??= open()
      try {
        const fresh = await within(opening, until, 'connect_timeout')
        return { ...(await put(fresh, until)), connectMs: now() - beganAt }
      } catch (error) {
        // The failure of an attempt that began before this check says nothing about now: it makes its own.
        if (own || now() >= until) return { result: reasonOf(error), error, connectMs: now() - beganAt }
      }
    }
  }

  /** Puts one statement; a session that does anything but answer it with 1 is thrown away. */
  async function put(on: Session, until: number): Promise<Verdict> {
    const beganAt = now()
    try {
      const value = await within(on.select(), until, 'timeout')
      const queryMs = now() - beganAt
      if (value === 1) return { result: 'healthy', queryMs }
      drop(on, new Error('Unexpected query result'))
      return { result: 'bad_result', queryMs }
    } catch (error) {
      drop(on, error as Error)
      return { result: reasonOf(error), error, queryMs: now() - beganAt }
    }
  }

  /** One attempt to connect. It may outlive the check that began it: the next ones wait on it, too. */
  function open(): Promise<Session> {
    const attempt = connect().finally(() => {
      opening = undefined
    })
    // When every check that waited has answered, nobody holds its failure.
    attempt.catch(() => {})
    return attempt
  }

  async function connect(): Promise<Session> {
    const pauseMs = attemptedAt + attemptSpacingMs - now()
    if (pauseMs > 0) await new Promise(resolve => setTimeout(resolve, pauseMs))
    if (closed) throw new Expired('connect_timeout')
    attemptedAt = now()
    const { rootCert, ...target } = options.readTarget()
    const dialOptions: DialOptions = { lookup, rootCert, addressTimeoutMs: options.timeoutMs / 2 }
    candidate = openSession(target, dialOptions, attemptedAt)
    try {
      await within(candidate.ready, attemptedAt + options.connectTimeoutMs, 'connect_timeout')
      session = candidate
      return candidate
    } catch (error) {
      candidate.destroy(error as Error)
      throw error
    } finally {
      candidate = undefined
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
    candidate?.destroy(error)
    if (session) drop(session, error)
  }

  async function close() {
    closed = true
    candidate?.destroy(new Expired('connect_timeout'))
    if (session) await retire(session, closeMs)
  }
}
