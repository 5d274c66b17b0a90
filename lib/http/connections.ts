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

/**
 * Who asks for health asks once, and reads. 259,000 requests on one connection took 540 MB and all the time; and
 * what the event loop answers in one turn holds up who comes, as libuv accepts one connection a turn.
 */
const maxPipelined = 10

/** What is known of a connection. */
interface Entry {
  /** How many of its requests wait. */
  waiting: number
  /** The number of its last request, or of its arrival, among all of them: the lowest has been silent longest. */
  turn: number
}

/**
 * Makes the book of connections.
 *
 * @param max Node's own `maxConnections` turns away whoever comes, so that silent clients shut out the honest.
 */
export function createConnections(max: number): Connections {
  let requests = 0
  let turns = 0
  // Not kept in order of their turns: moving an entry for each request costs 7 % of an answer's processor time, and
  // looking through 8,000 for whom to let go a tenth of a millisecond.
  const entries = new Map<Socket, Entry>()
  const queued = new WeakMap<Socket, number>()
  return { admit, isFlood, begin, end, inFlight: () => requests }

  function admit(socket: Socket) {
    turns += 1
    entries.set(socket, { waiting: 0, turn: turns })
    socket.once('close', () => entries.delete(socket))
    if (entries.size > max) findMostSilent()?.destroy()
  }

  function findMostSilent(): Socket | undefined {
    let found: Socket | undefined
    let least = Number.POSITIVE_INFINITY
    for (const [socket, { waiting, turn }] of entries) {
      if (waiting > 0 || turn >= least) continue
      found = socket
      least = turn
    }
    return found
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
    turns += 1
    const entry = entries.get(socket)
    // It closed, with requests of it still in the parser.
    if (entry === undefined) return
    entry.waiting += 1
    entry.turn = turns
  }

  function end(socket: Socket) {
    requests -= 1
    const entry = entries.get(socket)
    if (entry !== undefined) entry.waiting -= 1
  }
}
