// Starts an HTTP server of lib/http on a free port, and gives a test clients that send and read raw bytes.
import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import net from 'node:net'
import type { TestContext } from 'node:test'
import { createLife } from '../../lib/health/phase.ts'
import { repliesOf } from '../../lib/health/reply.ts'
import type { Verdict } from '../../lib/health/verdict.ts'
import { createHandler, type HandlerOptions } from '../../lib/http/handler.ts'
import { type Pages, routeOf, routesOf } from '../../lib/http/route.ts'
import { createHttp, type HttpOptions } from '../../lib/http/server.ts'

/** A check as a test writes it. */
export type Check = () => Promise<{ verdict: Verdict; waitMs: number }>

/** A check that ends with this verdict. */
export const answering =
  (verdict: Verdict): Check =>
  async () => ({ verdict, waitMs: 0 })
export const isHealthy = answering({ by: 'check', result: 'healthy', queryMs: 1 })
/** For requests that must not cause a check. */
export const neverCalled: Check = () => assert.fail('the check was called')

const callsBack =
  (check: Check): HandlerOptions['check'] =>
  (answer, fail) => {
    check().then(({ verdict, waitMs }) => answer(verdict, waitMs), fail)
  }

/** A response as a client reads it. */
export interface Answer {
  readonly text: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What a test may say about the server and about the handler of its requests. */
export interface ServeOptions extends Omit<HttpOptions, 'handler'>, Omit<HandlerOptions, 'check' | 'onEnd'> {
  readonly check: Check
  readonly pages: Pages
}

/** What `serve` uses, where a test says nothing else. */
const defaults: Omit<ServeOptions, 'phase'> = {
  createServer,
  maxConnections: 100,
  check: isHealthy,
  replies: repliesOf(503),
  pages: new Map(),
  now: () => performance.now(),
  onRefused() {},
  onAcceptError() {},
}

/** Starts a server, which ends with the test. */
export async function serve(t: TestContext, given: Partial<ServeOptions> = {}) {
  const faults: unknown[] = []
  const refused: number[] = []
  const life = createLife()
  const options: ServeOptions = {
    ...defaults,
    phase: life.phase,
    onRefused: status => refused.push(status),
    onError: error => faults.push(error),
    onAcceptError: error => faults.push(error),
    ...given,
  }
  let inFlight = 0
  const handle = createHandler({
    ...options,
    check: callsBack(options.check),
    onEnd(request) {
      inFlight -= 1
      http.endRequest(request)
    },
  })
  const routes = routesOf({ roles: 'served', pages: options.pages })
  const http = createHttp({
    ...options,
    handler(request, response) {
      inFlight += 1
      handle(request, response, routeOf(request.method ?? '', request.url ?? '', routes))
    },
  })
  const port = (await http.listen({ port: 0, host: '127.0.0.1' }))?.port ?? 0
  const sockets: net.Socket[] = []
  let server: Server | undefined
  const far = new Map<number | undefined, net.Socket>()
  const requests = channel('http.server.request.start')
  const notice = (message: unknown) => {
    const seen = message as { server: Server; socket: net.Socket }
    if (seen.socket.localPort !== port) return
    server = seen.server
    far.set(seen.socket.remotePort, seen.socket)
  }
  requests.subscribe(notice)
  t.after(async () => {
    requests.unsubscribe(notice)
    for (const socket of sockets) socket.destroy()
    await http.close(0)
  })
  return {
    life,
    inFlight: () => inFlight,
    http,
    port,
    faults,
    refused,
    connect,
    ask,
    server: () => server ?? assert.fail('no request came'),
  }

  /** A connected client. Its responses are read one by one. */
  async function connect() {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    sockets.push(socket)
    let received = ''
    // A server that closes during a write resets the connection. That is an end like any other.
    socket.on('error', () => {})
    socket.setEncoding('latin1').on('data', chunk => {
      received += chunk
    })
    const closed = new Promise<void>(resolve => {
      socket.once('end', () => {
        socket.destroy()
      })
      socket.once('close', () => resolve())
    })
    await once(socket, 'connect')
    return { socket, closed, received: () => received, reply, rest, reset, far: farSide }

    /** Resets the connection: the server cannot tell a plain end from a client that still reads. */
    async function reset() {
      const noticed = new Promise(resolve => farSide().once('close', resolve))
      socket.resetAndDestroy()
      await noticed
    }

    /** The server's socket of this connection. The client must have sent a request. */
    function farSide() {
      return far.get(socket.localPort) ?? assert.fail('no request came')
    }

    /** The next response, by its content-length. */
    async function reply(): Promise<Answer> {
      for (;;) {
        const head = received.indexOf('\r\n\r\n') + 4
        const length = Number(/^content-length: (\d+)/im.exec(received)?.[1])
        if (head >= 4 && received.length >= head + length) {
          const text = received.slice(0, head + length)
          received = received.slice(head + length)
          return answerOf(text)
        }
        if (socket.readableEnded || socket.destroyed) assert.fail(`no response, but: ${received}`)
        await Promise.race([once(socket, 'data'), closed])
      }
    }

    /** The response that ends when the server closes. */
    async function rest(): Promise<Answer> {
      await closed
      return answerOf(received)
    }
  }

  /** Sends bytes on a new connection. The response ends when the server closes. */
  async function ask(bytes: string): Promise<Answer> {
    const client = await connect()
    client.socket.write(bytes, 'latin1')
    return client.rest()
  }
}

function answerOf(text: string): Answer {
  const head = text.indexOf('\r\n\r\n')
  const [line = '', ...lines] = text.slice(0, head).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1] ?? assert.fail(`not a response: ${text}`))
  const headers = lines.map(header => {
    const colon = header.indexOf(': ')
    return [header.slice(0, colon).toLowerCase(), header.slice(colon + 2)]
  })
  return { text, status, headers: Object.fromEntries(headers), body: text.slice(head + 4) }
}

/** Checks that a response has the headers of the contract and no others, except `allow` and what Node adds. */
export function assertHeaders({ headers }: Answer, length: number) {
  assert.equal(headers['content-type'], 'application/json')
  assert.equal(headers['content-length'], `${length}`)
  assert.equal(headers['cache-control'], 'no-store')
  assert.match(headers['x-process-time-ms'] ?? '', /^\d+$/)
  const dur = String.raw`;dur=\d+(\.\d{1,2})?`
  const grammar = `^(wait${dur}, )?(connect${dur}, )?(query${dur}, )?total${dur}$`
  assert.match(headers['server-timing'] ?? '', new RegExp(grammar))
  const known = ['content-type', 'content-length', 'cache-control', 'x-process-time-ms', 'server-timing']
  const others = Object.keys(headers).filter(name => !known.includes(name))
  assert.deepEqual(
    others.filter(name => !['allow', 'date', 'connection', 'keep-alive'].includes(name)),
    [],
  )
}

/** The headers that do not differ from one response to the next. */
export function steadyHeadersOf({ headers }: Answer) {
  const { 'x-process-time-ms': _, 'server-timing': __, date: ___, ...steady } = headers
  return steady
}

/** A check that runs until the test ends it. `called` resolves when it has started. */
export function held() {
  let call = () => {}
  let answer = (_: Verdict) => {}
  let fail = (_: Error) => {}
  const outcome = new Promise<{ verdict: Verdict; waitMs: number }>((resolve, reject) => {
    answer = verdict => resolve({ verdict, waitMs: 0 })
    fail = reject
  })
  const called = new Promise<void>(resolve => {
    call = resolve
  })
  const check: Check = () => {
    call()
    return outcome
  }
  return { check, called, answer, fail }
}
