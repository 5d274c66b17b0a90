// A TCP peer that speaks enough of PostgreSQL's protocol to do what a real server never would.
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'

/** What the peer sends: after the start-up message, and after the n-th statement (from 0) of a connection. */
export interface Scenario {
  readonly startup: Buffer
  /** `sent` is what came from the client: a statement, or a step of its authentication. */
  readonly statement: (index: number, sent: Buffer) => Buffer
  /** Ends each connection as soon as it is accepted: with a FIN, or with a reset. */
  readonly accept?: 'close' | 'reset'
  /** What it does when the client ends a connection: closes it, too, or leaves it open. */
  readonly end?: 'close' | 'ignore'
  /** Sends one byte at a time, so many milliseconds apart. */
  readonly byteEveryMs?: number
}

export function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export const ready = message('Z', Buffer.from('I'))
/** AuthenticationOk and ReadyForQuery. */
export const welcome = Buffer.concat([message('R', Buffer.alloc(4)), ready])
/** A step of the login: 3 clear text, 5 MD5, 7 GSSAPI, 10 to 12 SASL. */
export function authentication(type: number, rest = ''): Buffer {
  return message('R', Buffer.concat([Buffer.from([0, 0, 0, type]), Buffer.from(rest)]))
}

export const silence = Buffer.alloc(0)

/** The whole answer to a statement: one row with one int4 column. */
export function row(value: string): Buffer {
  const column = Buffer.alloc(18)
  column.writeInt32BE(23, 6)
  const length = Buffer.alloc(4)
  length.writeInt32BE(value.length)
  return Buffer.concat([
    message('T', Buffer.concat([Buffer.from([0, 1]), Buffer.from('?column?\0'), column])),
    message('D', Buffer.concat([Buffer.from([0, 1]), length, Buffer.from(value)])),
    message('C', Buffer.from('SELECT 1\0')),
    ready,
  ])
}

/** An error that ends the connection: the peer closes after it. */
export function fatal(code: string, text: string): Buffer {
  return message('E', Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${text}\0\0`))
}

/** An error after which the session goes on. */
export function error(code: string, text: string): Buffer {
  return Buffer.concat([message('E', Buffer.from(`SERROR\0VERROR\0C${code}\0M${text}\0\0`)), ready])
}

/** A server that answers as PostgreSQL does. */
export const honest: Scenario = { startup: welcome, statement: () => row('1') }

export type Peer = Awaited<ReturnType<typeof openPeer>>

/** Listens on a loopback port, a free one unless `at` says where. Expects clients that do not ask for TLS. */
export async function openPeer(scenario: Scenario, at: net.ListenOptions = { host: '127.0.0.1', port: 0 }) {
  const sockets = new Set<net.Socket>()
  let connections = 0
  let played = scenario
  const server = net.createServer({ allowHalfOpen: true }, socket => {
    const { startup, statement, accept, end = 'close', byteEveryMs } = played
    connections += 1
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
    if (accept === 'close') socket.end()
    if (accept === 'reset') socket.resetAndDestroy()
    if (end === 'close') socket.on('end', () => socket.end())
    let statements = -1
    socket.on('data', sent => {
      const answer = statements < 0 ? startup : statement(statements, sent)
      statements += 1
      // PostgreSQL does not answer Terminate.
      if (sent.toString('latin1', 0, 1) === 'X') return
      if (byteEveryMs === undefined) socket.write(answer)
      else drip(socket, answer, byteEveryMs)
      if (answer.includes('VFATAL')) socket.end()
    })
  })
  server.listen(at)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections
    },
    /** Plays this scenario from now on. Open connections are ended, or go on as they were. */
    play(next: Scenario, open: 'end' | 'keep' = 'end') {
      played = next
      if (open === 'end') for (const socket of sockets) socket.destroy()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function drip(socket: net.Socket, bytes: Buffer, everyMs: number) {
  const timer = setInterval(() => {
    socket.write(bytes.subarray(0, 1))
    bytes = bytes.subarray(1)
    if (bytes.length === 0) clearInterval(timer)
  }, everyMs)
  socket.once('close', () => clearInterval(timer))
}
