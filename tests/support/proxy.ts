// A TCP proxy between the server under test and PostgreSQL: records each connection and statement, fails on demand.
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/** What crossed the proxy, on the clock of `performance.now()`. */
export interface Statement {
  readonly connection: number
  readonly text: string
  readonly beganAt: number
  /** When the server's ReadyForQuery was passed on, or the connection ended; undefined while it is open. */
  endedAt: number | undefined
  /** False when the connection ended instead. */
  answered: boolean
}

export interface Proxy {
  readonly port: number
  readonly statements: readonly Statement[]
  /** When each connection was accepted. */
  readonly connections: readonly number[]
  /** The most that were open at the same time. */
  readonly mostConnections: number
  readonly openConnections: number
  /** Nothing crosses any more, in either direction, on connections that are open and on new ones. */
  stall(): void
  /** As `stall`, for the connections that are open now; new ones work. */
  stallOpen(): void
  /** Ends every stall; what was held back crosses. */
  flow(): void
  /** Resets every connection that is open. */
  reset(): void
  /** Passes each chunk from the server on only after so many milliseconds. */
  delay(ms: number): void
  close(): Promise<void>
}

/** Listens on a loopback port of its own and passes everything on to `port`. */
export async function openProxy(port: number): Promise<Proxy> {
  const statements: Statement[] = []
  const connections: number[] = []
  const links = new Set<Link>()
  let stalled = false
  let delayMs = 0
  let mostConnections = 0

  const server = net.createServer(client => {
    const upstream = net.connect({ port, host: '127.0.0.1', noDelay: true })
    const link = { client, upstream, stalled }
    links.add(link)
    mostConnections = Math.max(mostConnections, links.size)
    const recorder = createRecorder(connections.push(performance.now()) - 1, statements)
    pass(client, upstream, link, 0, recorder.fromClient)
    pass(upstream, client, link, () => delayMs, recorder.fromServer)
    const end = () => {
      if (!links.delete(link)) return
      recorder.end()
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    port: (server.address() as AddressInfo).port,
    statements,
    connections,
    get mostConnections() {
      return mostConnections
    },
    get openConnections() {
      return links.size
    },
    stall() {
      stalled = true
      for (const link of links) hold(link)
    },
    stallOpen() {
      for (const link of links) hold(link)
    },
    flow() {
      stalled = false
      for (const link of links) release(link)
    },
    reset() {
      for (const { client, upstream } of links) {
        client.resetAndDestroy()
        upstream.destroy()
      }
    },
    delay(ms) {
      delayMs = ms
    },
    async close() {
      for (const { client, upstream } of links) {
        client.destroy()
        upstream.destroy()
      }
      server.close()
      await once(server, 'close')
    },
  }
}

interface Link {
  readonly client: Socket
  readonly upstream: Socket
  stalled: boolean
}

function hold(link: Link) {
  link.stalled = true
  link.client.pause()
  link.upstream.pause()
}

function release(link: Link) {
  link.stalled = false
  link.client.resume()
  link.upstream.resume()
}

function pass(
  from: Socket,
  to: Socket,
  link: Link,
  delay: 0 | (() => number),
  record: (chunk: Buffer) => void,
) {
  if (link.stalled) from.pause()
  from.on('data', chunk => {
    const ms = delay === 0 ? 0 : delay()
    const forward = () => {
      record(chunk)
      to.write(chunk)
    }
    if (ms === 0) forward()
    else setTimeout(forward, ms)
  })
  from.on('end', () => to.end())
}

/** Follows one connection's plain-text messages. Start-up ends with the server's first ReadyForQuery. */
function createRecorder(connection: number, statements: Statement[]) {
  let started = false
  let open: Statement | undefined
  const client = createReader(chunk => chunk.length >= 8 && chunk.readUInt32BE(4) === 80877103)
  const server = createReader(() => false)

  return {
    fromClient(chunk: Buffer) {
      for (const { type, body } of client(chunk, started)) {
        // Passwords and the goodbye; anything else but Q would be a statement of another kind.
        if (type === 'p' || type === 'X') continue
        open = {
          connection,
          text: type === 'Q' ? body.toString('utf8', 0, body.length - 1) : `message ${type}`,
          beganAt: performance.now(),
          endedAt: undefined,
          answered: false,
        }
        statements.push(open)
      }
    },
    fromServer(chunk: Buffer) {
      // The one byte that answers an SSLRequest.
      if (!started && chunk.length === 1) return
      for (const { type } of server(chunk, true)) {
        if (type !== 'Z') continue
        if (started) finish(true)
        started = true
      }
    },
    end: () => finish(false),
  }

  function finish(answered: boolean) {
    if (!open) return
    open.endedAt = performance.now()
    open.answered = answered
    open = undefined
  }
}

/** Cuts a stream into messages. Before start-up is over the client's have no type; they are passed over. */
function createReader(isSslRequest: (chunk: Buffer) => boolean) {
  let rest = Buffer.alloc(0)
  let startupSeen = false
  return (chunk: Buffer, typed: boolean): { type: string; body: Buffer }[] => {
    if (isSslRequest(chunk)) return []
    rest = Buffer.concat([rest, chunk])
    if (!typed && !startupSeen && rest.length >= 4) {
      startupSeen = true
      rest = rest.subarray(rest.readUInt32BE(0))
    }
    const messages: { type: string; body: Buffer }[] = []
    while (rest.length >= 5) {
      const end = 1 + rest.readUInt32BE(1)
      if (rest.length < end) break
      messages.push({ type: String.fromCharCode(rest[0] ?? 0), body: rest.subarray(5, end) })
      rest = rest.subarray(end)
    }
    return messages
  }
}
