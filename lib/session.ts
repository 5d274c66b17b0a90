// One session with PostgreSQL: one `postgres()` on one socket of our own, thrown away as soon as it is odd.
//
// Each rule in here answers a failure measured with postgres.js 3.4.9:
// - `sql.end({timeout: 0})` only half-closes (1,000 expiries left 981 sockets): we keep the socket and destroy it.
// - A server that closes politely during start-up makes the driver reconnect without delay or end (2,007
//   connections in 3 s): the socket factory throws when it is called again, and `destroy` always has an error.
// - After a FATAL the next query fails with the old error: a session that failed is not used again.
// - `query.cancel()` wedges a connection that is still opening, or kills the process: never called.
import type { Socket } from 'node:net'
import postgres from 'postgres'
import { type Dialing, type DialOptions, dial } from './dial.ts'
import { failure } from './failure.ts'
import { createGuard, type Guard } from './guard.ts'
import type { Target } from './target.ts'

export interface Session {
  /** Monotonic milliseconds: when the attempt began. */
  readonly openedAt: number
  /** Resolves once a statement of its own has gone through; rejects with the raw error of whatever failed. */
  readonly ready: Promise<void>
  /** False as soon as either side has closed. */
  alive(): boolean
  /** Sends SELECT 1; resolves with the value that came back, whatever it is, or rejects with the raw error. */
  select(): Promise<unknown>
  /** Ends it at once, in any state; what waits on it rejects with `error`. */
  destroy(error: Error): void
  /** Says goodbye (Terminate, so that the server logs no "unexpected EOF") and resolves when the server has closed. */
  end(): Promise<void>
}

/** Begins a session; nothing is thrown, failures come through `ready`. */
export function openSession(target: Target, dialOptions: DialOptions, openedAt: number): Session {
  const dialing = dial(target, dialOptions)
  const sql = driverOf(target, dialing)
  let socket: Socket | undefined
  const guard = createGuard()
  let abort: (error: Error) => void = () => {}
  return { openedAt, ready: open(), alive, select, destroy: dialing.destroy, end: () => sql.end() }

  async function open() {
    socket = await dialing.connected
    guardSocket(socket, guard)
    // The driver takes the socket a moment later, and does not notice one that was closed by then.
    socket.once('close', () => abort(guard.fatal() ?? failure('CONNECTION_CLOSED')))
    // Warms the session: a check puts its own statement, so none takes credit for one sent before it began.
    await select()
  }

  function alive() {
    return socket?.readyState === 'open'
  }

  function select(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      abort = reject
      guard.expectAnswer()
      // One message, no named statement: safe behind transaction poolers. `sql.unsafe` leaks 100 bytes a failure.
      const rows = sql`SELECT 1`.simple().values()
      rows.then(
        ([row, ...surplus]) => resolve(surplus.length === 0 && row?.length === 1 ? row[0] : undefined),
        error => reject(guard.fatal() ?? error),
      )
    })
  }
}

/** Has every chunk read by `guard` before it goes on to whoever listens: the driver. */
function guardSocket(socket: Socket, guard: Guard) {
  // PostgreSQL does not speak first.
  if (socket.readableLength > 0) socket.destroy(failure('08P01'))
  const push = socket.push
  socket.push = (chunk, ...rest) => {
    // Null is the end.
    const wrong = chunk === null ? undefined : guard.read(chunk)
    if (wrong === undefined) return push.call(socket, chunk, ...rest)
    socket.destroy(wrong)
    return false
  }
}

/** The driver with every option given: what is left out it reads from PG… variables or fills with a pool's default. */
function driverOf(target: Target, dialing: Dialing): postgres.Sql {
  let taken = false
  const options = {
    // Arrays: text would be searched for commas and colons, which breaks IPv6. Used in its error texts alone.
    host: [target.host],
    port: [target.port],
    user: target.user,
    database: target.database,
    // A function, as an empty text would be replaced by PGPASSWORD. It must not throw: nobody holds its promise.
    pass: () => target.password,
    connection: { application_name: target.applicationName },
    socket(): Promise<Socket> {
      if (taken) throw failure('CONNECTION_CLOSED')
      taken = true
      return dialing.connected
    },
    // TLS and its mode are done by the time the driver gets the socket.
    ssl: false,
    sslnegotiation: null,
    max: 1,
    max_pipeline: 0,
    backoff: () => 0,
    // 0 is "off" for all four: deadlines and ages are ours.
    connect_timeout: 0,
    idle_timeout: 0,
    max_lifetime: 0,
    keep_alive: 0,
    prepare: false,
    // Would send a query of its own, whose rejection nobody holds.
    fetch_types: false,
    debug: false,
    publications: '',
    target_session_attrs: undefined,
    no_subscribe: true,
    // The default prints them to the console.
    onnotice() {},
  }
  // The types of 3.4.9 do not know `socket`, `max_pipeline` and others that the code honours.
  return postgres(options as unknown as postgres.Options<Record<string, never>>) as unknown as postgres.Sql
}
