// Requests into replies: routing, timing headers, hardening, the last line of defence.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
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
import { allowed, type Pages, type Route, routeOf } from './route.ts'

export interface HttpOptions {
  readonly check: Check
  readonly phase: () => Phase
  readonly replies: Readonly<Record<Verdict['result'], Reply>>
  readonly pages: Pages
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly connections: Connections
  /** Told of every answer, after it is sent. */
  readonly onAnswer: (path: string, status: number, totalMs: number) => void
  /** Told of a fault of ours, after which the caller gets a 500. */
  readonly onError: (error: unknown) => void
  /** Told when a connection can't be accepted (ENFILE): no reason to end. */
  readonly onAcceptError: (error: unknown) => void
}

export interface Http {
  /** Starts listening; resolves with the address, or nothing for a Unix socket; rejects with the system's error. */
  listen(options: ListenOptions | { readonly fd: number }): Promise<AddressInfo | undefined>
  /** Stops listening, gives what is in flight `graceMs`, then cuts what is left; resolves when all is closed. */
  close(graceMs: number): Promise<void>
}

/** Makes the server; it does not listen yet. */
export function createHttp(options: HttpOptions): Http {
  const { check, phase, replies, now, connections, onAnswer, onError, onAcceptError } = options
  const pages = new Map([...options.pages].map(([path, render]) => [path, oncePerTurn(render)]))
  let shared: { readonly verdict?: Verdict; readonly timing: string } = { timing: '' }
  const server = createServer(hardening, (request, response) => {
    const arrivedAt = now()
    if (connections.isFlood(request.socket, response)) return void request.socket.destroy()
    connections.begin(request.socket)
    const route = routeOf(request.method ?? '', request.url ?? '', pages)
    const exchange = { request, response, route, arrivedAt }
    try {
      handle(exchange)
    } catch (error) {
      fail(exchange, error)
    }
  })
  // Whoever sends a request and closes its half (`nc -N`) gets the answer, too.
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on('connection', connections.admit)
  return {
    listen: listening => listen(server, listening, onAcceptError),
    close: graceMs => close(server, graceMs),
  }

  function handle(exchange: Exchange) {
    const { request, response, route } = exchange
    if (phase() !== 'serving' || hasBody(request)) response.shouldKeepAlive = false
    if (route.kind === 'alive') send(exchange, alive)
    else if (route.kind === 'page') send(exchange, route.render())
    else if (route.kind === 'not_found') send(exchange, notFound)
    else if (route.kind === 'bad_query') send(exchange, badQuery)
    else if (route.kind === 'method_not_allowed') send(exchange, methodNotAllowed)
    else checkAndSend(exchange)
  }

  function checkAndSend(exchange: Exchange) {
    check(
      (verdict, waitMs) => {
        try {
          sendVerdict(exchange, verdict, waitMs)
        } catch (error) {
          fail(exchange, error)
        }
      },
      fault => fail(exchange, fault),
      exchange.route.kind === 'role' ? questionOf(exchange.route.wish) : undefined,
    )
  }

  function sendVerdict(exchange: Exchange, verdict: Verdict, waitMs: number) {
    // The shutdown may have started while the check ran.
    if (phase() !== 'serving') exchange.response.shouldKeepAlive = false
    if (verdict !== shared.verdict) shared = { verdict, timing: timingOf(verdict) }
    const { route } = exchange
    const reply =
      route.kind === 'role' ? roleReplies[resultFor(route.wish, verdict)] : replies[verdict.result]
    send(exchange, reply, `wait;dur=${decimals(waitMs, 10)}, ${shared.timing}`)
  }

  /** Status and headers are those of GET, whatever the method; `timing` is what comes before the total. */
  function send({ request, response, arrivedAt, route }: Exchange, reply: Reply, timing = '') {
    const totalMs = now() - arrivedAt
    const forOptions = request.method === 'OPTIONS' && takesOptions(route)
    const body = forOptions ? '' : reply.body
    const headers = [
      'content-type',
      reply.contentType ?? 'application/json',
      'content-length',
      String(Buffer.byteLength(body)),
      'cache-control',
      'no-store',
      'x-process-time-ms',
      String(Math.round(totalMs)),
      'server-timing',
      `${timing}total;dur=${decimals(totalMs, 10)}`,
    ]
    if (reply.headers) headers.push(...reply.headers)
    if (forOptions) headers.push('allow', allowed)
    if (route.kind === 'method_not_allowed') headers.push('allow', route.allow)
    // Whoever asks for something else may be about to send something else: an upload, an attack.
    if (reply === notFound || reply === methodNotAllowed) response.shouldKeepAlive = false
    response.writeHead(reply.status, headers)
    // All of ours is ASCII, and Latin-1 is written without counting or translating: 7 % of an answer's time.
    response.end(body, reply.contentType ? 'utf8' : 'latin1')
    onAnswer(route.path, reply.status, totalMs)
    connections.end(request.socket)
  }

  /** A fault of ours costs its caller a 500, and nobody else anything. */
  function fail(exchange: Exchange, error: unknown) {
    onError(error)
    if (exchange.response.headersSent) {
      connections.end(exchange.request.socket)
      exchange.response.destroy()
    } else {
      exchange.response.shouldKeepAlive = false
      send(exchange, internalError)
    }
  }
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly route: Route
  /** Monotonic milliseconds: when the request's head was read. */
  readonly arrivedAt: number
}

/**
 * Makes a page once for all who ask in the same turn of the event loop: one takes as long to make as many answers
 * of /health, and ten connections that pipelined requests for /metrics kept those waiting for 23 s.
 */
function oncePerTurn(render: () => Reply): () => Reply {
  let page: Reply | undefined
  return () => {
    if (page) return page
    setImmediate(() => {
      page = undefined
    })
    page = render()
    return page
  }
}

/** Milliseconds. Measured on Node 20 to 26. */
const hardening = {
  // A client that sends its head, or nothing, slower than this is answered 408 …
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  // … but only when somebody looks: with Node's 30 s a silent client stays that long.
  connectionsCheckingInterval: 1_000,
  // Above the 60 s of ALB and NGINX: whoever closes first must be the balancer, or it answers 502.
  keepAliveTimeout: 65_000,
  maxHeaderSize: 8 * 1024,
} as const

function takesOptions({ kind }: Route): boolean {
  return kind === 'health' || kind === 'alive' || kind === 'role' || kind === 'bad_query'
}

/** A body is never read; the connection that carries it is closed, or the client could go on uploading. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** The parts of server-timing that all who share a check have in common: connecting, the statement. */
function timingOf({ connectMs, queryMs }: Verdict): string {
  const connect = connectMs === undefined ? '' : `connect;dur=${decimals(connectMs, 100)}, `
  return connect + (queryMs === undefined ? '' : `query;dur=${decimals(queryMs, 100)}, `)
}

/**
 * To a hundredth of a millisecond, or a tenth for what every answer has of its own: V8 remembers the texts of
 * numbers that it has written before, and of tenths there are few.
 */
function decimals(ms: number, parts: 10 | 100): number {
  return Math.round(ms * parts) / parts
}

function listen(
  server: Server,
  options: Parameters<Http['listen']>[0],
  onAcceptError: (error: unknown) => void,
): ReturnType<Http['listen']> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.removeListener('error', reject)
      server.on('error', onAcceptError)
      // Of a Unix socket that was inherited Node knows no path.
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address : undefined)
    })
  })
}

/** After close() Node no longer runs its timeouts: one half-sent request would hold the process for ever. */
function close(server: Server, graceMs: number): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
