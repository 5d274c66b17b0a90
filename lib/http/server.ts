// Listens for HTTP requests, with limits against bad clients.
import type { createServer, IncomingMessage, RequestListener, Server } from 'node:http'
import type { AddressInfo, ListenOptions } from 'node:net'
import { createConnections } from './connections.ts'
import { refusalOf } from './refusal.ts'

export interface HttpOptions {
  /** That of node:http. An `import` of it would also load the WebSocket client: 20 ms and 3 MB (Node 24). */
  readonly createServer: typeof createServer
  /** Answers a request, and then calls `endRequest`. Must not throw. */
  readonly handler: RequestListener
  /** How many connections may be open. Above that, a new one closes the one that has been idle longest. */
  readonly maxConnections: number
  /** Called for each request that Node's parser refuses, with the status of the refusal. */
  readonly onRefused: (status: number) => void
  /** Called when a connection cannot be accepted (ENFILE). The server goes on. */
  readonly onAcceptError: (error: unknown) => void
}

export interface Http {
  /** Starts to listen. Resolves with the address, or undefined for a Unix socket; rejects with the system's error. */
  listen(options: ListenOptions | { readonly fd: number }): Promise<AddressInfo | undefined>
  /** Call it once for each request that `handler` got: it has its response, or cannot get one any more. */
  endRequest(request: IncomingMessage): void
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

/** Creates the server. It does not listen yet. */
export function createHttp(options: HttpOptions): Http {
  const { handler, onRefused } = options
  const connections = createConnections(options.maxConnections)
  const server = options.createServer(hardening, (request, response) => {
    if (!connections.admitRequest(request.socket, response)) return void request.socket.destroy()
    handler(request, response)
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
    endRequest: ({ socket }) => connections.end(socket),
    close: graceMs => close(server, graceMs),
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
