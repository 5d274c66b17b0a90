// Limits the number of connections, and of the requests that wait on each one.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface Connections {
  /** Registers a new connection. Above the limit, the connection that has been idle longest is closed. */
  admit(socket: Socket): void
  /**
   * Registers a request that waits for its response; call `end` when it has one. Returns false if too many requests of
   * its connection wait already: close the connection.
   */
  admitRequest(socket: Socket, response: ServerResponse): boolean
  /** Ends a request that was admitted. */
  end(socket: Socket): void
}

/**
 * How many requests may queue behind the first one of a connection. Health checkers do not pipeline. Without a limit,
 * one connection with 259,000 pipelined requests used 540 MB and all of the processor's time.
 */
const maxQueued = 10

interface Connection {
  /** How many of its requests wait for their response. */
  waiting: number
  /** How many of those wait behind another request of the same connection. */
  queued: number
  /** Sequence number of its last activity. The lowest is the longest idle. */
  lastEvent: number
}

/**
 * Creates the table of connections.
 *
 * @param max the limit. Node's own `maxConnections` would refuse new connections, so that idle ones could lock out all
 *   others.
 */
export function createConnections(max: number): Connections {
  let events = 0
  // In order of arrival, not of activity: to move an entry for each request costs 7 % of a response's processor time,
  // and to search 8,000 entries for the longest-idle one takes 0.1 ms.
  const connections = new Map<Socket, Connection>()
  return { admit, admitRequest, end }

  function admit(socket: Socket) {
    events += 1
    connections.set(socket, { waiting: 0, queued: 0, lastEvent: events })
    socket.once('close', () => connections.delete(socket))
    if (connections.size > max) findLongestIdle()?.destroy()
  }

  /** A connection with a request that waits is never idle. */
  function findLongestIdle(): Socket | undefined {
    let found: Socket | undefined
    let least = Number.POSITIVE_INFINITY
    for (const [socket, { waiting, lastEvent }] of connections) {
      if (waiting > 0 || lastEvent >= least) continue
      found = socket
      least = lastEvent
    }
    return found
  }

  function admitRequest(socket: Socket, response: ServerResponse): boolean {
    const connection = connections.get(socket)
    // Missing if the connection has closed and the parser still delivers its requests.
    if (connection && !admitToQueue(connection, response)) return false
    events += 1
    if (connection) {
      connection.waiting += 1
      connection.lastEvent = events
    }
    return true
  }

  function end(socket: Socket) {
    const connection = connections.get(socket)
    if (connection) connection.waiting -= 1
  }
}

/** Node gives the socket to one response at a time. The others wait in its queue, which has no limit. */
function admitToQueue(connection: Connection, response: ServerResponse): boolean {
  if (response.socket !== null) return true
  if (connection.queued >= maxQueued) return false
  connection.queued += 1
  response.once('close', () => {
    connection.queued -= 1
  })
  return true
}
