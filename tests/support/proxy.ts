// A TCP proxy between the program and PostgreSQL: records each connection and query, and fails when a test says so.
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { findPort } from './postgres.ts'

/** The text of the query that every check sends. */
export const checkQuery = '/*NO QUERY CACHE*/ SELECT 1'

/** One query that crossed the proxy. Times are those of `performance.now()`. */
export interface Statement {
  readonly connection: number
  readonly text: string
  /** When it reached the proxy. */
  readonly beganAt: number
  /** When the server's ReadyForQuery was passed on, or the connection ended; undefined while it is open. */
  endedAt: number | undefined
  /** False when the connection ended instead. */
  answered: boolean
  /** The first column of the last row that it returned, as text; undefined if there was none. */
  value: string | undefined
}

export interface Proxy {
  readonly port: number
  readonly statements: readonly Statement[]
  /** When each connection was accepted. */
  readonly connections: readonly number[]
  /** When each of them ended, by either side; undefined while it is open. */
  readonly closures: readonly (number | undefined)[]
  /** The most that were open at the same time. */
  readonly mostConnections: number
  readonly openConnections: number
  /** Holds everything back, in both directions, on open connections and on new ones. */
  stall(): void
  /** As `stall`, but only for connections that are open now; new ones work. */
  stallOpen(): void
  /** Ends every stall, and passes on what was held back. */
  flow(): void
  /** Resets every connection that is open. */
  reset(): void
  /** Delays each chunk from the server by so many milliseconds. What is being delayed now passes immediately. */
  delay(ms: number): void
  /** Decides what happens to new connections. Resolves when it is in effect. */
  treat(newcomers: Treatment): Promise<void>
  close(): Promise<void>
}

/** `swallow` accepts them and never answers; `hang_up` accepts and closes them; `refuse` is a closed port. */
export type Treatment = 'pass' | 'swallow' | 'hang_up' | 'refuse'

/** Listens on a free loopback port and passes everything on to `port`. */
export async function openProxy(port: number): Promise<Proxy> {
  const statements: Statement[] = []
  const connections: number[] = []
  const closures: (number | undefined)[] = []
  const links = new Set<Link>()
  let treatment: Treatment = 'pass'
  let stalled = false
  let delayMs = 0
  let mostConnections = 0

  const server = net.createServer(client => {
    const index = connections.push(performance.now()) - 1
    closures.push(undefined)
    const recorder = createRecorder(index, statements)
    const { upstream, lanes } = treatment === 'pass' ? connect(client, recorder, end) : { lanes: [] }
    const link: Link = { client, lanes, end }
    links.add(link)
    mostConnections = Math.max(mostConnections, links.size)
    // Not 'close', which comes a turn later: by then the next connection may have been accepted.
    for (const name of ['end', 'error', 'close']) client.on(name, end)
    if (treatment === 'hang_up') end()
    if (treatment === 'swallow') client.resume()

    function end() {
      if (!links.delete(link)) return
      closures[index] = performance.now()
      recorder.end()
      client.destroySoon()
      upstream?.destroy()
      for (const lane of lanes) lane.hold()
    }
  })

  function connect(client: Socket, recorder: Recorder, end: () => void) {
    const upstream = net.connect({ port, host: '127.0.0.1', noDelay: true })
    const out = createLane(() => 0)
    const back = createLane(() => delayMs)
    if (stalled) for (const lane of [out, back]) lane.hold()
    client.on('data', chunk => {
      // It has begun when it is here, even when it is held back.
      recorder.fromClient(chunk)
      out.put(() => upstream.write(chunk))
    })
    upstream.on('data', chunk => {
      back.put(() => {
        recorder.fromServer(chunk)
        client.write(chunk)
      })
    })
    // In order: the server's last bytes, then the end.
    for (const name of ['end', 'error', 'close']) upstream.on(name, () => back.put(end))
    return { upstream, lanes: [out, back] }
  }

  const ownPort = await findPort()
  await listen()

  async function listen() {
    server.listen(ownPort, '127.0.0.1')
    await once(server, 'listening')
  }

  return {
    port: ownPort,
    statements,
    connections,
    closures,
    get mostConnections() {
      return mostConnections
    },
    get openConnections() {
      return links.size
    },
    stall() {
      stalled = true
      holdAll()
    },
    stallOpen: holdAll,
    flow() {
      stalled = false
      for (const lane of allLanes()) lane.release()
    },
    reset,
    delay(ms) {
      delayMs = ms
      for (const lane of allLanes()) lane.hurry()
    },
    async treat(newcomers) {
      const listening = treatment !== 'refuse'
      treatment = newcomers
      // The port closes immediately. 'close' would wait for the open connections as well.
      if (newcomers === 'refuse' && listening) server.close()
      if (newcomers !== 'refuse' && !listening) await listen()
    },
    async close() {
      reset()
      if (!server.listening) return
      server.close()
      await once(server, 'close')
    },
  }

  function reset() {
    for (const { client, end } of links) {
      client.resetAndDestroy()
      end()
    }
  }

  function allLanes(): Lane[] {
    return [...links].flatMap(({ lanes }) => lanes)
  }

  function holdAll() {
    for (const lane of allLanes()) lane.hold()
  }
}

interface Link {
  readonly client: Socket
  /** Both directions; none when there is no connection to the server. */
  readonly lanes: readonly Lane[]
  end(): void
}

/** One direction of a connection: what is put into it comes out in order, after the delay at that time. */
interface Lane {
  put(deliver: () => void): void
  hold(): void
  release(): void
  /** Passes on immediately what has been put until now, unless it is held. */
  hurry(): void
}

function createLane(delayMs: () => number): Lane {
  let queue: { dueAt: number; readonly deliver: () => void }[] = []
  let held = false
  let timer: NodeJS.Timeout | undefined
  return { put, hold, release, hurry }

  function put(deliver: () => void) {
    queue.push({ dueAt: performance.now() + delayMs(), deliver })
    pump()
  }

  function pump() {
    clearTimeout(timer)
    for (;;) {
      const [first] = queue
      if (!first || held) return
      const waitMs = first.dueAt - performance.now()
      if (waitMs > 0) {
        timer = setTimeout(pump, Math.ceil(waitMs))
        return
      }
      queue = queue.slice(1)
      first.deliver()
    }
  }

  function hold() {
    held = true
    clearTimeout(timer)
  }

  function release() {
    held = false
    pump()
  }

  function hurry() {
    for (const thing of queue) thing.dueAt = 0
    pump()
  }
}

type Recorder = ReturnType<typeof createRecorder>

/** Follows one connection's plain-text messages. Start-up ends with the server's first ReadyForQuery. */
function createRecorder(connection: number, statements: Statement[]) {
  let started = false
  let open: Statement | undefined
  const client = createReader(chunk => chunk.length >= 8 && chunk.readUInt32BE(4) === 80877103)
  const server = createReader(() => false)

  return {
    fromClient(chunk: Buffer) {
      for (const { type, body } of client(chunk, started)) {
        // Passwords and Terminate are no queries. Anything but Q would be a query of another kind.
        if (type === 'p' || type === 'X') continue
        open = {
          connection,
          text: type === 'Q' ? body.toString('utf8', 0, body.length - 1) : `message ${type}`,
          beganAt: performance.now(),
          endedAt: undefined,
          answered: false,
          value: undefined,
        }
        statements.push(open)
      }
    },
    fromServer(chunk: Buffer) {
      // The one byte that answers an SSLRequest.
      if (!started && chunk.length === 1) return
      for (const { type, body } of server(chunk, true)) {
        if (type === 'D' && open) open.value = firstColumnOf(body)
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

/** The first column of a DataRow: the number of columns (two bytes), then for each its length (four bytes, -1 is NULL). */
function firstColumnOf(body: Buffer): string | undefined {
  const length = body.readInt32BE(2)
  return length < 0 ? undefined : body.toString('utf8', 6, 6 + length)
}

/** Splits a stream into messages. Skips the client's start-up message, which has no type. */
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
