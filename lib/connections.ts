// Keeps the number of clients, and of their requests, within what the process can hold.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface Connections {
  /** Takes a new connection in; when there are too many, the one that has been silent longest is let go. */
  admit(socket: Socket): void
  /** Whether this request is one too many of those that its connection sent before it read any answer. */
  isFlood(socket: Socket, response: ServerResponse): boolean
  /** A request of `socket` waits for its answer. */
  begin(socket: Socket): void
  /** It has been answered. */
  end(socket: Socket): void
  /** How many requests wait. */
  inFlight(): number
}

/** Who asks for health asks once, and reads. 259,000 requests on one connection took 540 MB and all the time. */
const maxPipelined = 100

/**
 * Makes the book of connections.
 *
 * @param max Node's own `maxConnections` turns away whoever comes, so that silent clients shut out the honest.
 */
export function createConnections(max: number): Connections {
  let requests = 0
  /** How many requests of each wait, in the order of their last one: the most silent connection comes first. */
  const waiting = new Map<Socket, number>()
  const queued = new WeakMap<Socket, number>()
  return { admit, isFlood, begin, end, inFlight: () => requests }

  function admit(socket: Socket) {
    waiting.set(socket, 0)
    socket.once('close', () => waiting.delete(socket))
    if (waiting.size <= max) return
    for (const [candidate, count] of waiting) {
      if (count === 0) return void candidate.destroy()
    }
  }

  function isFlood(socket: Socket, response: ServerResponse): boolean {
    // Node gives the socket to one response at a time; those behind it queue without limit.
    if (response.socket !== null) return false
    const add = (count: number) => queued.set(socket, (queued.get(socket) ?? 0) + count).get(socket) ?? 0
    response.once('close', () => add(-1))
    return add(1) > maxPipelined
  }

  function begin(socket: Socket) {
    requests += 1
    const count = waiting.get(socket)
    // It closed, with requests of it still in the parser.
    if (count === undefined) return
    waiting.delete(socket)
    waiting.set(socket, count + 1)
  }

  function end(socket: Socket) {
    requests -= 1
    const count = waiting.get(socket)
    if (count !== undefined) waiting.set(socket, count - 1)
  }
}
