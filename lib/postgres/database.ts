// Runs a check: decides which session gets the query, when to open a new one, when to give up.
import { codedError } from '../error.ts'
import type { Question } from '../health/role.ts'
import type { Source } from '../health/source.ts'
import type { Reason, Verdict } from '../health/verdict.ts'
import { type AttemptOptions, createAttempts } from './attempt.ts'
import { withDeadline } from './expiry.ts'
import { reasonOf, WrongRole } from './reason.ts'
import { isStatementError, retire, type Session, terminateMs } from './session.ts'

export interface DatabaseOptions extends AttemptOptions {
  /** The next check replaces a session that is older than this, milliseconds. */
  readonly sessionMaxAgeMs: number
}

/** A source that sends SELECT 1 on the open session, or on a new one with a host that has the wanted role. */
export interface Database extends Source {
  /** How many sessions have been opened. Failed attempts do not count. */
  connectionsOpened(): number
  /** Drops the session and any attempt to open one; the next check opens another. */
  reset(error: Error): void
  /** Ends the session politely, within half a second, whatever it is doing. */
  close(): Promise<void>
}

/** Minimum time for an open session: a request with little time left must not drop a healthy session. */
const minPatienceMs = 100
/** How long `close` waits for a running query. */
const closeMs = 500

/** One check: its time, what it asks after SELECT 1, and the function that gets the verdict of SELECT 1 before that. */
interface Task {
  readonly startedAt: number
  readonly until: number
  readonly question: Question
  readonly onHealthy: (verdict: Verdict) => void
}

/** Makes the database. The first `check` opens a session. */
export function createDatabase(options: DatabaseOptions): Database {
  const { now } = options
  const attempts = createAttempts(options)
  let session: Session | undefined
  let opened = 0

  return { check, timedOut, connectionsOpened: () => opened, reset, close }

  async function check(
    until: number,
    question: Question = 'health',
    onHealthy: Task['onHealthy'] = () => {},
  ): Promise<Verdict> {
    const task = { startedAt: now(), until, question, onHealthy }
    if (session && now() - session.startedAt > options.sessionMaxAgeMs) {
      await part(session, Math.min(terminateMs, until - now()))
    }
    // An idle session that died is replaced within the same check.
    if (session && !session.isOpen()) drop(session, codedError('CONNECTION_CLOSED'))
    if (session) {
      // Half of the time: a firewall may have forgotten this connection. The other half is for a new session.
      const verdict = await query(session, halfOf(until), task)
      if (verdict.result === 'healthy' || verdict.result === 'bad_result') return verdict
    }
    return checkOnNewSession(task)
  }

  /** The end of the first half of the time until `until`. */
  function halfOf(until: number): number {
    return Math.min(now() + Math.max((until - now()) / 2, minPatienceMs), until)
  }

  /** `connectMs` counts from the start of the check: the time lost on a silent session is part of it. */
  async function checkOnNewSession(task: Task): Promise<Verdict> {
    const { startedAt, until } = task
    for (;;) {
      const isOwn = !attempts.isRunning()
      try {
        const fresh = await withDeadline(attempts.join(keep), until, now, 'connect_timeout')
        const connectMs = now() - startedAt
        const onHealthy = (verdict: Verdict) => task.onHealthy({ ...verdict, connectMs })
        return { ...(await query(fresh, until, { ...task, onHealthy })), connectMs }
      } catch (error) {
        // An attempt that started before this check says nothing about now: if it failed, the check makes its own.
        if (isOwn || now() >= until)
          return { result: reasonOf(error), by: 'check', error, connectMs: now() - startedAt }
      }
    }
  }

  /** Sends SELECT 1, then asks for the role and the lag if the check needs them. Drops the session unless the result is 1. */
  async function query(asked: Session, until: number, task: Task): Promise<Verdict> {
    // The driver sends a query in the next turn of the event loop. Work done in this turn must not count as query time.
    let sentAt = now()
    const sending = setImmediate(() => {
      sentAt = now()
    })
    try {
      const isOne = await withDeadline(asked.select(), until, now, 'timeout')
      const queryMs = now() - sentAt
      if (isOne) return await askRole(asked, until, task, { result: 'healthy', by: 'check', queryMs })
      drop(asked, unexpectedResult())
      return { result: 'bad_result', by: 'check', queryMs }
    } catch (error) {
      clearImmediate(sending)
      drop(asked, error as Error)
      return { result: reasonOf(error), by: 'check', error, queryMs: now() - sentAt }
    }
  }

  /** Adds the role, or why it is unknown. A session with a server that has another role than `wanted` is ended. */
  async function askRole(asked: Session, until: number, task: Task, healthy: Verdict): Promise<Verdict> {
    if (task.question === 'health' && asked.wanted === undefined) return healthy
    if (asked.wanted === undefined) task.onHealthy(healthy)
    // Half of what the check has left: requests for /health that arrive meanwhile wait for the next check.
    const limit = halfOf(task.until)
    try {
      const role = await withDeadline(asked.readRole(), asked.wanted ? until : limit, now, 'timeout')
      if (role === undefined) throw unexpectedResult()
      if (asked.wanted?.includes(role) === false) {
        await part(asked, Math.min(terminateMs, until - now()))
        return { ...healthy, result: role, error: new WrongRole(role) }
      }
      const lag = task.question === 'lag' && role === 'standby' ? await askLag(asked, limit) : undefined
      return { ...healthy, role, ...lag }
    } catch (error) {
      const roleReason = failureOf(asked, error)
      return asked.wanted
        ? { ...healthy, result: roleReason, error }
        : { ...healthy, roleReason, roleError: error }
    }
  }

  /** The lag of a standby, or why the query for it failed. Neither if the server can't say. The role stays known. */
  async function askLag(asked: Session, until: number): Promise<Partial<Verdict>> {
    try {
      const lagBytes = await withDeadline(asked.readLag(), until, now, 'timeout')
      return lagBytes === undefined ? {} : { lagBytes }
    } catch (error) {
      return { roleReason: failureOf(asked, error), roleError: error }
    }
  }

  /** Why a query after SELECT 1 failed. A session that only refused the query, for lack of a privilege, stays. */
  function failureOf(asked: Session, error: unknown): Reason {
    const reason = reasonOf(error)
    if (isStatementError(error)) return reason === 'timeout' ? reason : 'unknown'
    drop(asked, error as Error)
    return reason
  }

  function keep(fresh: Session) {
    session = fresh
    opened += 1
  }

  async function part(old: Session, patienceMs: number) {
    if (session === old) session = undefined
    await retire(old, patienceMs, now)
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
    if (session) await part(session, closeMs)
  }
}

/** The error of a query whose result is not what it must be. */
const unexpectedResult = () => new Error('Unexpected query result')
