// A TCP peer that speaks just enough of PostgreSQL's protocol to do, on demand, what a real server never would.
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'

/** What the peer sends: after the start-up message, and after the n-th statement (from 0) of a connection. */
export interface Scenario {
  readonly startup: Buffer
  readonly statement: (index: number) => Buffer
}

export function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export const ready = message('Z', Buffer.from('I'))
/** AuthenticationOk and ReadyForQuery. */
export const welcome = Buffer.concat([message('R', Buffer.alloc(4)), ready])
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

/** Listens on a loopback port. Expects clients that do not ask for TLS. */
export async function openPeer({ startup, statement }: Scenario) {
  const sockets = new Set<net.Socket>()
  let connections = 0
  const server = net.createServer(socket => {
    connections += 1
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
    let statements = -1
    socket.on('data', () => {
      const answer = statements < 0 ? startup : statement(statements)
      statements += 1
      socket.write(answer)
      if (answer.includes('VFATAL')) socket.end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
