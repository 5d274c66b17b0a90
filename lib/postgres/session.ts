// One session with PostgreSQL: one `postgres()` on one socket of our own, thrown away as soon as it is odd.
//
// The driver logs in. From then on SELECT 1 is ours, 14 bytes, and its answer is read where it is judged anyway: by
// the guard. Through the driver a statement takes twice the processor time, and leaves objects that V8 keeps until it
// looks through the whole heap (docs/performance.md).
//
// Each rule in here answers a failure measured with postgres.js 3.4.9:
// - `sql.end({timeout: 0})` only half-closes (1,000 expiries left 981 sockets): we keep the socket and destroy it.
// - A server that closes politely during start-up makes the driver reconnect without delay or end (2,007
//   connections in 3 s): the socket factory throws when it is called again, and `destroy` always has an error.
// - `query.cancel()` wedges a connection that is still opening, or kills the process: never called.

import type { Socket } from 'node:net'
import postgres from 'postgres'
import { codedError } from '../error.ts'
import { type Connecting, type ConnectOptions, connect } from './connect.ts'
import type { Conninfo } from './conninfo.ts'
import { createProtocolGuard, type Outcome } from './protocol.ts'

export interface Session {
  /** Monotonic milliseconds: when the attempt began. */
  readonly openedAt: number
  /** Resolves once a statement of its own has gone through; rejects with the raw error of whatever failed. */
  readonly ready: Promise<void>
  /** False as soon as either side has closed. */
  alive(): boolean
  /** Sends SELECT 1; resolves with whether one row came back, the integer 1, or rejects with the raw error. */
  select(): Promise<boolean>
  /** Ends it at once, in any state; what waits on it rejects with `error`. */
  destroy(error: Error): void
  /** Says goodbye (Terminate, so that the server logs no "unexpected EOF") and resolves when the server has closed. */
  end(): Promise<void>
}

/** A message of PostgreSQL's simple query protocol: no named statement, so it is safe behind transaction poolers. */
const question = Buffer.from('Q\0\0\0\x0dSELECT 1\0')

/** Begins a session; nothing is thrown, failures come through `ready`. */
export function openSession(target: Conninfo, connectOptions: ConnectOptions, openedAt: number): Session {
  const connecting = connect(target, connectOptions)
  const sql = driverOf(target, connecting)
  let socket: Socket | undefined
  /** Who waits for an answer, be it the driver's or ours. */
  let waiting: { resolve(isOne: boolean): void; reject(error: unknown): void } | undefined
  let loggedIn = false
  /** Settles with the last statement of ours. */
  let asked: Promise<unknown> = Promise.resolve()
  const guard = createProtocolGuard()
  return { openedAt, ready: open(), alive, select, destroy: connecting.destroy, end }

  async function open() {
    socket = await connecting.connected
    guardSocket(socket)
    // Ends what waits: a statement of ours, or the driver, which takes the socket a moment later and does not notice one
    // that was closed by then.
    socket.once('close', () =>
      waiting?.reject(guard.fatal() ?? socket?.errored ?? codedError('CONNECTION_CLOSED')),
    )
    await logIn()
    loggedIn = true
  }

  /** The driver connects when it has a statement. A check puts its own: it takes no credit for one sent before it. */
  function logIn() {
    return new Promise((resolve, reject) => {
      waiting = { resolve, reject }
      guard.expectAnswer()
      // `sql.unsafe` leaks 100 bytes a failure.
      sql`SELECT 1`.simple().then(resolve, error => reject(guard.fatal() ?? error))
    })
  }

  function alive() {
    return socket?.readyState === 'open'
  }

  function select(): Promise<boolean> {
    const answered = new Promise<boolean>((resolve, reject) => {
      if (!alive()) return reject(codedError('CONNECTION_CLOSED'))
      waiting = { resolve, reject }
      guard.expectAnswer()
      socket?.write(question)
    })
    asked = answered
    return answered
  }

  /** The driver does not know of a statement of ours. A pooler throws away the connection of a client that leaves amid one. */
  async function end() {
    await asked.catch(() => {})
    if (alive()) await sql.end()
  }

  /** Has every chunk read by the guard first; what comes before the session stands goes on to the driver. */
  function guardSocket(socket: Socket) {
    // PostgreSQL does not speak first.
    if (socket.readableLength > 0) socket.destroy(codedError('08P01'))
    const push = socket.push
    socket.push = (chunk, ...rest) => {
      // Null is the end.
      const wrong = chunk === null ? undefined : guard.read(chunk)
      if (wrong !== undefined) {
        socket.destroy(wrong)
        return false
      }
      if (chunk === null || !loggedIn) return push.call(socket, chunk, ...rest)
      settle(guard.answer())
      return true
    }
  }

  function settle(answer: Outcome | undefined) {
    if (answer === undefined) return
    if ('error' in answer) waiting?.reject(answer.error)
    else waiting?.resolve(answer.isOne)
  }
}

/** The driver with every option given: what is left out it reads from PG… variables or fills with a pool's default. */
function driverOf(target: Conninfo, connecting: Connecting): postgres.Sql {
  let taken = false
  const options = {
    // Arrays: text would be searched for commas and colons, which breaks IPv6. Used in its error texts alone.
    host: [target.hosts[0].host],
    port: [target.hosts[0].port],
    user: target.user,
    database: target.database,
    // A function, as an empty text would be replaced by PGPASSWORD. It must not throw: nobody holds its promise.
    pass: () => target.password,
    connection: { application_name: target.applicationName },
    socket(): Promise<Socket> {
      if (taken) throw codedError('CONNECTION_CLOSED')
      taken = true
      return connecting.connected
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
