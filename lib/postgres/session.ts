// One session with PostgreSQL on a dedicated socket. Any error ends it, except a refused role or lag query.
//
// Each rule answers a failure measured with postgres.js 3.4.9:
// - `sql.end({timeout: 0})` only half-closes (1,000 timeouts left 981 sockets): we keep the socket and destroy it.
// - If the server closes cleanly during start-up, the driver reconnects without delay and without end (2,007 connections
//   in 3 s): the socket factory throws when it is called again, and `destroy` always has an error.
// - `query.cancel()` blocks a connection that is still opening, or ends the process: it is never called.
import type { Socket } from 'node:net'
import postgres from 'postgres'
import type { CertifiedConninfo, Conninfo } from '../conninfo/conninfo.ts'
import { codedError } from '../error.ts'
import type { Now } from '../health/deadline.ts'
import type { Role } from '../health/verdict.ts'
import { type Connecting, type ConnectOptions, connect } from './connect.ts'
import { withDeadline } from './expiry.ts'
import { createProtocolGuard, guardSocket } from './protocol.ts'
import { lagQuery, readLag, readRole, roleQuery, sqlText, wantedRoles } from './role.ts'
import { saslprep } from './saslprep.ts'

/** A session that is being opened. */
export interface Opening {
  /** Resolves when the session has answered a first query; rejects with the raw error of what failed. */
  readonly session: Promise<Session>
  /** Ends the attempt immediately, in any state. `session` rejects with `error` if it is still waiting. */
  destroy(error: Error): void
}

/** An open session. */
export interface Session {
  /** When the attempt to connect started, on the monotonic clock (milliseconds). */
  readonly startedAt: number
  /** The roles that `target_session_attrs` allows. Undefined if any will do. */
  readonly wanted: readonly Role[] | undefined
  /** False as soon as either side has closed the connection. */
  isOpen(): boolean
  /** Sends SELECT 1. Resolves with whether the result is one row with the integer 1; rejects with the raw error. */
  select(): Promise<boolean>
  /** Asks the server for its role. Undefined if the answer is not a role. Rejects with the raw error: see `isStatementError`. */
  readRole(): Promise<Role | undefined>
  /** Asks a standby how many bytes of WAL it has not replayed. Undefined if it receives none, or may not tell. */
  readLag(): Promise<number | undefined>
  /** Ends the session immediately. A waiting query rejects with `error`. */
  destroy(error: Error): void
  /**
   * Waits for a running query, sends Terminate, so that the server does not log "unexpected EOF", and resolves when the
   * server has closed the connection.
   */
  end(): Promise<void>
}

/** pgpool-II answers other queries from its cache (memory_cache_enabled), even while PostgreSQL is frozen (4.3). */
const selectOne = sqlText`/*NO QUERY CACHE*/ SELECT 1`

/** Starts to open a session with the first host. Never throws: failures reject `session`. */
export function openSession(
  conninfo: CertifiedConninfo,
  options: ConnectOptions,
  startedAt: number,
): Opening {
  const connecting = connect(conninfo.hosts[0], conninfo, options)
  const guard = createProtocolGuard()
  const sql = driverOf(conninfo, connecting, guard.usesScram)
  let onClose: (error: unknown) => void = () => {}
  return { session: open(), destroy: connecting.destroy }

  async function open(): Promise<Session> {
    const socket = await connecting.connected
    guardSocket(socket, guard)
    // The driver attaches one turn later, and misses a close before that.
    socket.once('close', () => onClose(guard.fatal() ?? socket.errored ?? codedError('CONNECTION_CLOSED')))
    // The driver connects only when it has a query. This query does not make a check healthy: the check sends its own,
    // because this one may have been sent before the request arrived.
    await query(selectOne, isOne)
    return {
      startedAt,
      wanted: wantedRoles(conninfo.targetSessionAttrs),
      isOpen: () => socket.readyState === 'open',
      select: () => query(selectOne, isOne),
      readRole: () => query(roleQuery, rows => readRole(onlyValueOf(rows))),
      readLag: () => query(lagQuery, rows => readLag(onlyValueOf(rows))),
      destroy: connecting.destroy,
      end: () => sql.end(),
    }
  }

  function query<T>(text: TemplateStringsArray, read: (rows: Rows) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      onClose = reject
      guard.expectResult()
      // One message without a named statement: safe behind transaction poolers. `sql.unsafe` leaks 100 bytes per failure.
      sql(text)
        .simple()
        // The bytes of the values. Rows as objects cost 17 % more processor time per query.
        .raw()
        .then(
          rows => resolve(read(rows)),
          error => reject(guard.fatal() ?? error),
        )
    })
  }
}

/**
 * Whether the server refused one query, and the session goes on. After all other errors the session is of no use: the
 * driver fails the next query with the old error.
 */
export function isStatementError(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.severity === 'ERROR'
}

/** A server gets this long to close the connection after our Terminate, milliseconds. */
export const terminateMs = 100

/**
 * Ends a session and waits until the server has closed it, so that there is never a second one at the same time. After
 * `patienceMs` milliseconds we close it.
 */
export async function retire(session: Session, patienceMs: number, now: Now) {
  // Not Expired: a host that is slow to close is not silent. It is tried first again.
  const tooSlow = () => session.destroy(codedError('CONNECTION_DESTROYED'))
  await withDeadline(session.end(), now() + patienceMs, now, 'timeout').catch(tooSlow)
}

/** The result of a query: the bytes of the values, row by row. */
type Rows = postgres.RawRowList<postgres.Row[]>

/** The only value of a result. Undefined if it is NULL, or there is none or more than one. */
function onlyValueOf(rows: Rows): string | undefined {
  const [row, ...more] = rows
  const value = row?.[0]
  return more.length > 0 || !value ? undefined : String(value)
}

/** The OIDs of int8, int2 and int4. PostgreSQL answers int4; CockroachDB and Spanner's PostgreSQL interface int8. */
const integerTypes = [20, 21, 23]

/** Whether a result is one row with the integer 1. Two results are an array without columns. */
function isOne(rows: Rows): boolean {
  const [column] = rows.columns ?? []
  const [row, ...more] = rows
  if (column === undefined || row === undefined || more.length > 0) return false
  return integerTypes.includes(column.type) && String(row[0]) === '1'
}

/** The options of the driver that are the same for every session. It is made for a pool, and we need one connection. */
const fixedOptions = {
  // The driver gets a socket on which TLS is already set up.
  ssl: false,
  sslnegotiation: null,
  max: 1,
  max_pipeline: 0,
  backoff: () => 0,
  // 0 means off for these four: we keep the deadlines and ages.
  connect_timeout: 0,
  idle_timeout: 0,
  max_lifetime: 0,
  keep_alive: 0,
  prepare: false,
  // With true, the driver sends a query of its own, and nothing handles its rejection.
  fetch_types: false,
  debug: false,
  publications: '',
  // The default prints notices to the console.
  onnotice() {},
}

/** Makes the driver. It reads every option that is missing from a PG… variable of the environment, so none is missing. */
function driverOf(conninfo: Conninfo, connecting: Connecting, usesScram: () => boolean): postgres.Sql {
  let taken = false
  const options = {
    ...fixedOptions,
    // Arrays, because the driver splits text at commas and colons, which breaks IPv6. It only uses them in error messages.
    host: [conninfo.hosts[0].host],
    port: [conninfo.hosts[0].port],
    user: conninfo.user,
    database: conninfo.database,
    // A function, because the driver replaces an empty text by PGPASSWORD. It must not throw: nothing handles that.
    // Only SCRAM takes a prepared password. The driver calls this for each method, and does not name the method.
    pass: () => (usesScram() ? saslprep(conninfo.password) : conninfo.password),
    // The driver leaves out empty ones.
    connection: { application_name: conninfo.applicationName, options: conninfo.options },
    socket(): Promise<Socket> {
      if (taken) throw codedError('CONNECTION_CLOSED')
      taken = true
      return connecting.connected
    },
  }
  // "Any role" is `undefined`, and for `undefined` the driver reads PGTARGETSESSIONATTRS. Options that it has read once are
  // not read again, so the second call can leave the role out.
  const read = createDriver({ ...options, target_session_attrs: 'read-write' }).options
  return createDriver({ ...read, target_session_attrs: undefined, no_subscribe: true })
}

/** The types of 3.4.9 lack `socket`, `max_pipeline` and others that the code honours. */
function createDriver(options: object): postgres.Sql {
  return postgres(options as postgres.Options<Record<string, never>>) as unknown as postgres.Sql
}
