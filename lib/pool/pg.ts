// Sends SELECT 1 through a pool of node-postgres, and closes the connection at the deadline.
import type { Reason } from '../health/verdict.ts'
import { GaveUp, UnexpectedResult } from './reason.ts'
import type { HealthCheck } from './source.ts'

/** What is used of a client of `pg`. */
export interface PgClient {
  query(text: string): Promise<{ readonly rows: readonly unknown[] }>
  release(error?: Error | boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
  removeListener(event: 'error', listener: (error: Error) => void): unknown
}

/** What is used of a `Pool` of `pg` (measured with 8.23.1). No import, so the package need not be installed. */
export interface PgPool {
  connect(callback: (error: Error | undefined, client: PgClient | undefined) => void): unknown
  readonly totalCount: number
  readonly idleCount: number
  readonly waitingCount: number
  readonly ending?: boolean
  readonly options: { max?: number | undefined; connectionTimeoutMillis?: number | undefined }
}

/** A connection that the check has taken. */
interface Taken {
  readonly client: PgClient
  /** The first error that the connection reported since it was taken, whether or not a query was under way. */
  firstError(): Error | undefined
  /** Gives the connection back. The pool closes it if there is an error, or has been one. */
  release(error?: Error | true): void
}

/** A check that waits for a connection. */
interface Waiter {
  resolve(taken: Taken): void
  reject(error: unknown): void
}

/** A call of `pool.connect()` that has not settled. It cannot be cancelled. */
interface Request {
  readonly waiter: Waiter
  /** Whether it went into the queue of the pool. If not, the pool opens a connection for it. */
  readonly isQueued: boolean
}

/** How long the pool may take to open a connection, milliseconds, if its options have no limit. */
const connectTimeoutMs = 5_000

/**
 * Makes a check for a pool of node-postgres. It takes a connection like any query of the service, sends SELECT 1, looks at
 * the row, releases the connection, and resolves with 1. When the signal aborts, it closes that connection, so the slot is
 * free. It holds at most two slots (one in a pool of one or two), and at most one place in the queue of the pool.
 *
 * @throws TypeError if it is not a pool, for example a single client.
 */
export function pgPool(pool: PgPool): HealthCheck {
  if (typeof pool?.connect !== 'function' || typeof pool.totalCount !== 'number') {
    throw new TypeError('pgPool() needs a Pool of node-postgres (the package pg)')
  }
  const requests = new Set<Request>()
  const waiters = new Set<Waiter>()
  return Object.assign(select, { timedOut: waitedFor })

  async function select(signal: AbortSignal) {
    signal.throwIfAborted()
    const taken = await takeClient(signal)
    try {
      const { rows } = await unlessAborted(signal, taken.client.query('/*NO QUERY CACHE*/ SELECT 1'))
      if (!isOne(rows)) throw new UnexpectedResult('SELECT 1 did not return 1')
    } catch (error) {
      // Closes the socket immediately, in any state. Plain release() would hand a stuck connection to the service.
      taken.release(error instanceof Error ? error : true)
      // A query on a connection that broke before only says that the connection is broken.
      throw taken.firstError() ?? error
    }
    taken.release()
    return 1
  }

  function takeClient(signal: AbortSignal): Promise<Taken> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { resolve, reject }
      // Removed in the same turn: a client that arrives later must not be given to a check that has ended.
      const abort = () => {
        reject(new GaveUp(waitedFor()))
        waiters.delete(waiter)
      }
      signal.addEventListener('abort', abort, { once: true })
      waiters.add(waiter)
      request(waiter)
    })
  }

  /**
   * Asks the pool for a connection, unless enough has been asked for. The place in the queue is reused by the next check;
   * otherwise each check would add one.
   */
  function request(waiter: Waiter) {
    // A pool that is ending rejects immediately.
    if (!pool.ending && !mayRequest()) return
    const asked: Request = { waiter, isQueued: pool.idleCount > 0 || isFull() }
    requests.add(asked)
    connect(asked, (error, client) => {
      requests.delete(asked)
      if (client) give(client)
      else if (waiters.delete(waiter)) waiter.reject(error)
      // It was asked for by an earlier check, and says nothing about now.
      else for (const other of waiters) request(other)
    })
  }

  function give(client: PgClient) {
    const [first] = waiters
    if (!first) return client.release()
    waiters.delete(first)
    first.resolve(take(client))
  }

  /**
   * `pool.connect()`, with a limit for opening a connection. The pool reads its option during the call. Without a limit, a
   * handshake that gets no answer would hold its slot forever. What the call throws goes to `done`.
   */
  function connect({ isQueued }: Request, done: (error: unknown, client?: PgClient) => void) {
    const { options } = pool
    const previous = options.connectionTimeoutMillis
    const isLimited = isQueued || Boolean(previous)
    if (!isLimited) options.connectionTimeoutMillis = connectTimeoutMs
    try {
      // Not the promise: it would settle after an error of the server that arrives with the end of the login.
      pool.connect(done)
    } catch (error) {
      done(error)
    } finally {
      if (!isLimited) options.connectionTimeoutMillis = previous
    }
  }

  function waitedFor(): Reason {
    if (waiters.size === 0) return 'timeout'
    return hasPlace() && isFull() ? 'pool_exhausted' : 'connect_timeout'
  }

  /** Whether one of our requests is in the queue of the pool. One that left it is opening a connection. */
  function hasPlace(): boolean {
    return pool.waitingCount > 0 && [...requests].some(({ isQueued }) => isQueued)
  }

  function mayRequest(): boolean {
    return !hasPlace() && (pool.idleCount > 0 || requests.size < maxRequests())
  }

  function isFull(): boolean {
    return pool.totalCount >= maxOf(pool) && pool.idleCount === 0
  }

  function maxRequests(): number {
    return maxOf(pool) > 2 ? 2 : 1
  }
}

/** Listens for errors: without a listener, a connection that breaks while it is taken ends the process. */
function take(client: PgClient): Taken {
  let first: Error | undefined
  const listen = (error: Error) => {
    first ??= error
  }
  client.on('error', listen)
  return { client, firstError: () => first, release }

  function release(error: Error | true | undefined = first) {
    client.removeListener('error', listen)
    client.release(error)
  }
}

function maxOf({ options: { max } }: PgPool): number {
  return max ?? 10
}

/** One row with one column, and 1 in it. Applications may have the driver give integers as text or BigInt. */
function isOne(rows: readonly unknown[]): boolean {
  const [row, ...more] = rows
  const values = Object.values(row ?? {})
  return more.length === 0 && values.length === 1 && String(values[0]) === '1'
}

/** Settles as `work` does, or rejects as soon as the signal aborts. */
function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject)
  })
}
