// Answers HTTP requests: routing, hardening against bad clients, and a 500 for an error of our own.
import type { createServer, Server } from 'node:http'
import type { AddressInfo, ListenOptions } from 'node:net'
import type { Phase } from '../health/phase.ts'
import type { Check } from '../health/probe.ts'
import {
  alive,
  badQuery,
  internalError,
  methodNotAllowed,
  notFound,
  type Reply,
  roleReplies,
} from '../health/reply.ts'
import { questionOf, resultFor } from '../health/role.ts'
import type { Verdict } from '../health/verdict.ts'
import type { Connections } from './connections.ts'
import { refusalOf } from './refusal.ts'
import { closesConnection, type Exchange, send, timingOf } from './response.ts'
import { type Pages, routeOf } from './route.ts'
import { createTurns } from './turns.ts'

export interface HttpOptions {
  /** That of node:http. An `import` of it would also load the WebSocket client: 20 ms and 3 MB (Node 24). */
  readonly createServer: typeof createServer
  readonly check: Check
  readonly phase: () => Phase
  /** The reply to each result of a check. */
  readonly replies: Readonly<Record<Verdict['result'], Reply>>
  readonly pages: Pages
  /** Monotonic clock, milliseconds. */
  readonly now: () => number
  readonly connections: Connections
  /** Called after each response is sent. `path` is one of `pathsOf`. */
  readonly onAnswer: (path: string, status: number, totalMs: number) => void
  /** Called for each request that Node's parser refuses, with the status of the refusal. */
  readonly onRefused: (status: number) => void
  /** Called with an error of our own. Its client gets a 500. */
  readonly onError: (error: unknown) => void
  /** Called when a connection cannot be accepted (ENFILE). The server goes on. */
  readonly onAcceptError: (error: unknown) => void
}

export interface Http {
  /** Starts to listen. Resolves with the address, or undefined for a Unix socket; rejects with the system's error. */
  listen(options: ListenOptions | { readonly fd: number }): Promise<AddressInfo | undefined>
  /** Stops listening. Requests in flight get `graceMs` to finish. Resolves when all connections are closed. */
  close(graceMs: number): Promise<void>
}

/** Durations in milliseconds. Measured on Node 20 to 26. */
const hardening = {
  // A client that takes longer to send its headers, or sends nothing, is answered 408.
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  // How often Node looks for such clients. With its default of 30 s a silent client stays that long.
  connectionsCheckingInterval: 1_000,
  // Above the 60 s of ALB and NGINX: the balancer must be the one that closes, or it answers 502.
  keepAliveTimeout: 65_000,
  // A browser's cookies, or the tokens that an ALB with OIDC adds, can exceed 8 KiB.
  maxHeaderSize: 32 * 1024,
  // HAProxy's `option httpchk GET /health HTTP/1.1` sends no Host, and nothing here depends on it.
  requireHostHeader: false,
} as const

/** About 3 ms of work (Node 20). More would delay new connections; 64 cost 6 % of the rate with 512 clients, 128 cost 2 %. */
const responsesPerTurn = 128

/** Creates the server. It does not listen yet. */
export function createHttp(options: HttpOptions): Http {
  const { check, phase, replies, pages, now, connections, onAnswer, onRefused, onError } = options
  /** The checks of many requests end with one verdict: its part of server-timing is written once. */
  let shared: { readonly verdict?: Verdict; readonly timing: string } = { timing: '' }
  const runInTurn = createTurns(responsesPerTurn)
  const server = options.createServer(hardening, (request, response) => {
    const arrivedAt = now()
    if (!connections.admitRequest(request.socket, response)) return void request.socket.destroy()
    const route = routeOf(request.method ?? '', request.url ?? '', pages)
    const exchange = { request, response, route, arrivedAt }
    try {
      handle(exchange)
    } catch (error) {
      fail(exchange, error)
    }
  })
  // A client that closes its sending half after the request (`nc -N`) still gets the response.
  Object.assign(server, { httpAllowHalfOpen: true })
  const reportRefusal = (error: unknown) => {
    const status = refusalOf(error)
    if (status !== undefined) onRefused(status)
  }
  server.on('connection', socket => {
    connections.admit(socket)
    socket.on('error', reportRefusal)
  })
  return {
    listen: place => listen(server, place, options.onAcceptError),
    close: graceMs => close(server, graceMs),
  }

  function handle(exchange: Exchange) {
    const { route } = exchange
    if (route.kind === 'health' || route.kind === 'role') checkAndSend(exchange)
    else if (route.kind === 'alive') finish(exchange, alive)
    else if (route.kind === 'page') finish(exchange, route.render())
    else if (route.kind === 'not_found') finish(exchange, notFound)
    else if (route.kind === 'bad_query') finish(exchange, badQuery)
    else finish(exchange, methodNotAllowed)
  }

  function checkAndSend(exchange: Exchange) {
    const { route } = exchange
    check(
      (verdict, waitMs) => {
        try {
          if (verdict !== shared.verdict) shared = { verdict, timing: timingOf(verdict) }
          const reply =
            route.kind === 'role' ? roleReplies[resultFor(route.wish, verdict)] : replies[verdict.result]
          finish(exchange, reply, timingOf({ waitMs }) + shared.timing)
        } catch (error) {
          fail(exchange, error)
        }
      },
      error => fail(exchange, error),
      route.kind === 'role' ? questionOf(route.wish) : undefined,
    )
  }

  /** Sends the response, in a later turn if this one is full. `timing` is the part of server-timing before the total. */
  function finish(exchange: Exchange, reply: Reply, timing = '') {
    runInTurn(() => {
      try {
        respond(exchange, reply, timing)
      } catch (error) {
        fail(exchange, error)
      }
    })
  }

  function respond(exchange: Exchange, reply: Reply, timing: string) {
    const totalMs = now() - exchange.arrivedAt
    // Decided here and nowhere else: the shutdown may have started while the check ran.
    if (phase() !== 'serving' || closesConnection(exchange.request, reply)) {
      exchange.response.shouldKeepAlive = false
    }
    send(exchange, reply, totalMs, timing)
    onAnswer(exchange.route.path, reply.status, totalMs)
    connections.end(exchange.request.socket)
  }

  /** An error of our own costs its client a 500, and has no effect on any other client. */
  function fail(exchange: Exchange, error: unknown) {
    onError(error)
    if (exchange.response.headersSent) {
      connections.end(exchange.request.socket)
      exchange.response.destroy()
    } else {
      finish(exchange, internalError)
    }
  }
}

function listen(
  server: Server,
  place: Parameters<Http['listen']>[0],
  onAcceptError: (error: unknown) => void,
): ReturnType<Http['listen']> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(place, () => {
      server.removeListener('error', reject)
      server.on('error', onAcceptError)
      // Node knows no path of an inherited Unix socket: its address is null.
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address : undefined)
    })
  })
}

/** After close() Node no longer runs its timeouts: without the timer, a half-sent request would hold the process. */
function close(server: Server, graceMs: number): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
