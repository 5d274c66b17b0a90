// The handlers of createHealth(): the same responses as the program, in a server of the application.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createLife } from '../../../lib/health/phase.ts'
import { createEndpoint } from '../../../lib/library/endpoint.ts'
import { createHealth, type HealthCheck, type HealthOptions, type Verdict } from '../../../library.ts'
import { serve as serveProgram } from '../../support/http.ts'

const healthy = '{"status": "healthy","database": "connected"}'
const unhealthy = (sentence: string) => `{"status": "unhealthy","error": "${sentence}"}`
const check: HealthCheck = async () => 1

/** Serves on a free port until the test ends. Gives a client. */
async function serve(t: TestContext, listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return (method: string, path: string, headers: Record<string, string> = {}) =>
    ask(port, method, path, headers)
}

/** Sends a request on a new connection. Gives status, headers that do not vary, and body. */
function ask(port: number, method: string, path: string, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>(
    (resolve, reject) => {
      const options = {
        port,
        host: '127.0.0.1',
        method,
        path,
        headers: { connection: 'keep-alive', ...headers },
      }
      send(options, async response => {
        const chunks = await response.toArray()
        resolve({
          status: response.statusCode ?? 0,
          headers: steady(response.headers),
          body: Buffer.concat(chunks).toString(),
        })
      })
        .on('error', reject)
        .end(headers['content-length'] ? 'x'.repeat(Number(headers['content-length'])) : undefined)
    },
  )
}

function steady(headers: Iterable<[string, unknown]> | Record<string, unknown>): Record<string, unknown> {
  const all = Symbol.iterator in headers ? [...headers] : Object.entries(headers)
  return Object.fromEntries(
    all
      .filter(([name]) => !['date', 'keep-alive'].includes(name))
      .map(([name, value]) => [name, /-time-ms$|-timing$/.test(name) ? 'varies' : value]),
  )
}

const requests = [
  '/health',
  '/health/',
  '/readyz?x',
  '/readyz/',
  '/livez',
  '/livez/',
  '/',
  '//health',
  '/healthz',
].flatMap(path => ['GET', 'HEAD', 'OPTIONS', 'POST', 'DELETE'].map(method => ({ method, path })))

for (const [name, options, result] of [
  ['healthy', {}, 'healthy'],
  ['unhealthy', { expect: 2, unhealthyStatus: 503 }, 'bad_result'],
] as const) {
  test(`handler() and fetch() answer as the program does, byte for byte: ${name}`, async t => {
    const program = await serveProgram(t, {
      check: async () => ({ verdict: { by: 'check', result }, waitMs: 0 }),
    })
    const health = createHealth({ check, ...options })
    const askLibrary = await serve(t, health.handler)
    // After an unhealthy check, the next one starts 100 ms later.
    const few = requests.filter(({ path }) => result === 'healthy' || path === '/health')
    for (const { method, path } of few) {
      const expected = await ask(program.port, method, path)
      assert.deepEqual(await askLibrary(method, path), expected, `${method} ${path}`)

      const response = await health.fetch(new Request(`http://h${path}`, { method }))
      const { connection, ...headers } = expected.headers
      assert.equal(response.headers.get('connection'), connection === 'close' ? 'close' : null)
      response.headers.delete('connection')
      const got = { status: response.status, headers: steady(response.headers), body: await response.text() }
      assert.deepEqual(got, { ...expected, headers }, `fetch ${method} ${path}`)
    }
  })
}

for (const [name, path, options] of [
  ['a check', '/health', {}],
  ['a page', '/metrics', { pages: true }],
] as const) {
  test(`handler() answers ${name} in full below middleware that wraps writeHead, as on-headers 1.0 does`, async t => {
    const { handler } = createHealth({ check, ...options })
    const askPlain = await serve(t, handler)
    const askWrapped = await serve(t, (request, response) => {
      wrapWriteHead(response)
      handler(request, response)
    })
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST']) {
      const [{ body, ...got }, { body: expected, ...rest }] = [
        await askWrapped(method, path),
        await askPlain(method, path),
      ]
      const { 'content-length': _, ...headers } = rest.headers
      const { 'content-length': length, ...wrapped } = got.headers
      assert.deepEqual([got.status, wrapped], [rest.status, headers], method)
      assert.equal(body === '', expected === '')
      if (method !== 'HEAD') assert.equal(Number(length), body.length)
    }
  })
}

/** Wraps writeHead in the way of on-headers before 1.1.0, which compression, morgan and session middlewares used. */
function wrapWriteHead(response: ServerResponse) {
  const writeHead = response.writeHead.bind(response)
  response.writeHead = (status: number, headers: unknown) => {
    // It takes an array for pairs. Of a flat array, it sets the first two letters of each text.
    const pairs = Array.isArray(headers) ? headers : Object.entries(headers ?? {})
    for (const pair of pairs) response.setHeader(pair[0], pair[1])
    return writeHead(status)
  }
}

test('handler() closes the connection of a request with a body: it is never read', async t => {
  const askLibrary = await serve(t, createHealth({ check }).handler)
  const { status, headers } = await askLibrary('GET', '/health', { 'content-length': '3' })
  assert.deepEqual([status, headers['connection']], [200, 'close'])
})

test('handler() passes on what is not its own, if it has a next handler', async t => {
  const { handler } = createHealth({ check })
  const askLibrary = await serve(t, (request, response) =>
    handler(request, response, () => response.end('next')),
  )
  for (const path of ['/', '/healthz', '/health/x', '//health', '/api/health']) {
    assert.equal((await askLibrary('GET', path)).body, 'next', path)
  }
  assert.equal((await askLibrary('GET', '/health')).body, healthy)
  assert.equal((await askLibrary('POST', '/health')).status, 405)
})

test('prefix: the paths below it are answered, and no other path', async t => {
  const { handler, fetch } = createHealth({ check, prefix: '/internal' })
  const askLibrary = await serve(t, handler)
  for (const path of [
    '/internal/health',
    '/internal/readyz/',
    '/internal/livez?x',
    'http://h/internal/health',
  ]) {
    assert.equal((await askLibrary('GET', path)).status, 200, path)
  }
  for (const path of [
    '/health',
    '/livez',
    '/internal',
    '/internalhealth',
    '/internal/internal/health',
    '/INTERNAL/health',
    '/x/health',
  ]) {
    assert.equal((await askLibrary('GET', path)).status, 404, path)
  }
  assert.equal((await fetch(new Request('http://h/internal/health'))).status, 200)
  for (const path of ['/other/health', '/health']) {
    assert.equal((await fetch(new Request(`http://h${path}`))).status, 404)
  }
})

test('prefix: a handler that is mounted at it, or above it, answers the whole path', async t => {
  for (const mount of ['/internal', '/api']) {
    const { handler } = createHealth({ check, prefix: '/internal' })
    const askLibrary = await serve(t, (request, response) => {
      const { url = '' } = request
      Object.assign(request, { originalUrl: url, url: url.slice(mount.length) })
      handler(request, response)
    })
    const path = mount === '/api' ? '/api/internal' : '/internal'
    assert.equal((await askLibrary('GET', `${path}/health`)).body, healthy)
    assert.equal((await askLibrary('GET', `${mount}/other`)).status, 404)
  }
})

test('handler() mounted on the path of a check finds it in originalUrl', async t => {
  const { handler } = createHealth({ check })
  const askLibrary = await serve(t, (request, response) => {
    Object.assign(request, { originalUrl: request.url, url: '/' })
    handler(request, response)
  })
  assert.equal((await askLibrary('GET', '/livez')).body, '{"status": "alive"}')
  assert.equal((await askLibrary('GET', '/health?x')).body, healthy)
  assert.equal((await askLibrary('GET', '/other')).status, 404)
})

test('a check that resolves is healthy, whatever the value, except false', async () => {
  for (const value of [undefined, null, 0, '', Number.NaN, [], {}]) {
    assert.equal(await bodyOf(createHealth({ check: async () => value })), healthy)
  }
  assert.equal(await bodyOf(createHealth({ check: async () => false })), unhealthy('unexpected query result'))
})

test('unhealthyStatus, expect and onVerdict have the effect that they are documented with', async () => {
  const seen: Verdict[] = []
  const error = Object.assign(new Error('password s3cret'), { code: 'ECONNREFUSED' })
  const fails: HealthOptions = {
    check: () => Promise.reject(error),
    unhealthyStatus: 200,
    onVerdict: verdict => seen.push(verdict),
  }
  const response = await createHealth(fails).fetch(new Request('http://h/health'))
  assert.deepEqual([response.status, await response.text()], [200, unhealthy('database unreachable')])
  assert.deepEqual(
    seen.map(({ result, by, error: raw }) => [result, by, raw]),
    [['unreachable', 'check', error]],
  )
})

const unreadable = Object.defineProperty(new Error(), 'name', {
  get() {
    throw new Error('s3cret')
  },
})
for (const [name, onVerdict] of Object.entries<() => unknown>({
  throws() {
    throw new TypeError('s3cret')
  },
  rejects: () => Promise.reject(new TypeError('s3cret')),
  'is a thenable that throws': () => ({
    // biome-ignore lint/suspicious/noThenProperty: it is the point of the test.
    get then() {
      throw new TypeError('s3cret')
    },
  }),
  'rejects with an unreadable error': () => Promise.reject(unreadable),
})) {
  test(`onVerdict that ${name} costs no request its verdict, and is told in one process warning`, async t => {
    const warnings: (Error & { code?: string; detail?: string })[] = []
    const keep = (warning: Error) => warnings.push(warning)
    process.on('warning', keep)
    t.after(() => process.removeListener('warning', keep))
    const health = createHealth({ check, onVerdict })
    const askLibrary = await serve(t, health.handler)
    for (const { status, body } of [await askLibrary('GET', '/health'), await askLibrary('GET', '/health')]) {
      assert.deepEqual([status, body], [200, healthy])
    }
    assert.equal((await health.fetch(new Request('http://h/health'))).status, 200)
    const ours = warnings.filter(({ code }) => code === 'PG_HEALTH_ON_VERDICT')
    assert.equal(ours.length, 1)
    const kind = /unreadable/.test(name) ? 'unreadable error' : 'TypeError'
    assert.equal(ours[0]?.message, `onVerdict of createHealth() failed (${kind}); said only once`)
    assert.doesNotMatch(ours[0]?.detail ?? '', /s3cret/)
    if (kind === 'TypeError') assert.match(ours[0]?.detail ?? '', /health\.test\.ts/)
  })
}

test('handler() ends the connection of a response that the service has made impossible to write', async t => {
  const { handler } = createHealth({ check })
  const askLibrary = await serve(t, (request, response) => {
    if (request.url === '/health') response.statusMessage = 'not\nallowed'
    handler(request, response)
  })
  await assert.rejects(askLibrary('GET', '/health'), { code: 'ECONNRESET' })
  assert.equal((await askLibrary('GET', '/livez')).status, 200)
})

test('handler() survives a response of which even destroy() throws, and answers the next request', async t => {
  const { handler } = createHealth({ check })
  const throws = () => {
    throw new Error('patched')
  }
  const askLibrary = await serve(t, (request, response) => {
    if (request.url === '/health?broken') {
      Object.assign(response, { writeHead: throws, destroy: throws })
      setImmediate(() => request.socket.destroy())
    }
    handler(request, response)
  })
  await assert.rejects(askLibrary('GET', '/health?broken'), { code: 'ECONNRESET' })
  assert.equal((await askLibrary('GET', '/health')).body, healthy)
})

test('handler() throws a TypeError if it gets no response of node:http, and counts no request', async () => {
  const health = createHealth({ check, pages: true })
  const wrong: unknown[] = [undefined, null, () => {}, {}, { send() {} }, new Response()]
  for (const response of wrong) {
    assert.throws(() => health.handler({ method: 'GET', url: '/health' } as never, response as never), {
      name: 'TypeError',
      message: /docs\/library\.md/,
    })
  }
  const metrics = await (await health.fetch(new Request('http://h/metrics'))).text()
  assert.match(metrics, /^pghealth_http_requests_in_flight 1$/m)
})

test('fetch() rejects with a TypeError what is no Request, and answers the next one', async () => {
  const health = createHealth({ check, pages: true })
  const headers = {
    get() {
      throw new Error('no headers')
    },
  }
  const url = 'http://h/health'
  const wrong: unknown[] = [
    undefined,
    null,
    {},
    url,
    { url, method: 'GET' },
    { url: 5, method: 'GET', headers: new Headers() },
    { url, method: 'GET', headers },
  ]
  for (const request of wrong) {
    const message = /^fetch\(\) needs a Request/
    await assert.rejects(health.fetch(request as Request), { name: 'TypeError', message })
  }
  assert.equal(await bodyOf(health), healthy)
  const metrics = await (await health.fetch(new Request('http://h/metrics'))).text()
  assert.match(metrics, /^pghealth_http_requests_in_flight 1$/m)
})

test('drain(): waiting requests are answered, the signal aborts, no check starts, /livez stays 200', async t => {
  let calls = 0
  const signals: AbortSignal[] = []
  const started = withResolvers()
  const seen: Verdict[] = []
  const health = createHealth({
    check(signal) {
      calls += 1
      signals.push(signal)
      started.resolve()
      return new Promise(() => {})
    },
    onVerdict: verdict => seen.push(verdict),
  })
  const askLibrary = await serve(t, health.handler)
  const waiting = [askLibrary('GET', '/health'), health.fetch(new Request('http://h/health'))] as const
  await started.promise
  health.drain()
  health.drain()
  const [first, second] = await Promise.all(waiting)
  const stopping = unhealthy('server is shutting down')
  assert.deepEqual([first.status, first.body, first.headers['connection']], [503, stopping, 'close'])
  assert.deepEqual([await second.text(), second.headers.get('connection')], [stopping, 'close'])
  assert.equal((await askLibrary('GET', '/readyz')).body, stopping)
  const alive = await askLibrary('GET', '/livez')
  assert.deepEqual([alive.status, alive.headers['connection']], [200, 'close'])
  await health.close()
  assert.equal(await bodyOf(health), stopping)
  assert.deepEqual([calls, signals.map(({ aborted }) => aborted), seen], [1, [true], []])
})

test('close() resolves for every caller when the connection has ended, and ends it once', async () => {
  const ended = withResolvers()
  let calls = 0
  const source = {
    check: async (): Promise<Verdict> => ({ result: 'healthy', by: 'check' }),
    timedOut: (): Verdict => ({ result: 'timeout', by: 'deadline' }),
    connectionsOpened: () => 1,
    close() {
      calls += 1
      return ended.promise
    },
  }
  const { close } = createEndpoint({
    source,
    life: createLife(),
    roles: 'absent',
    now: () => performance.now(),
    timeoutMs: 1000,
    unhealthyStatus: 503,
    details: undefined,
    onVerdict() {},
  })
  const resolved: string[] = []
  const both = [close().then(() => resolved.push('first')), close().then(() => resolved.push('second'))]
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual([calls, resolved], [1, []])
  ended.resolve()
  await Promise.all(both)
  assert.equal(calls, 1)
})

async function bodyOf(health: ReturnType<typeof createHealth>): Promise<string> {
  return (await health.fetch(new Request('http://h/health'))).text()
}

function withResolvers() {
  let resolve = () => {}
  const promise = new Promise<void>(done => {
    resolve = done
  })
  return { promise, resolve }
}
