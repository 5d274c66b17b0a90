// The pages of createHealth(): where they are served, what they count, and that nobody gets them unasked.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type CommonOptions, createHealth, type HealthCheck } from '../../../library.ts'
import { samplesOf } from '../../support/metrics.ts'
import { ask } from '../../support/server.ts'

const check: HealthCheck = async () => 1
const pages = ['/', '/history', '/metrics']

/** Mounts the handler as Express does below `mount`. What it passes on is answered with `own`. */
async function serve(t: TestContext, options: CommonOptions & { check?: HealthCheck }, mount = '') {
  const health = createHealth({ check, ...options })
  const server = createServer((request: IncomingMessage & { originalUrl?: string }, response) => {
    const next = () => void response.end('own')
    const { url = '' } = request
    if (!url.startsWith(mount)) return void next()
    request.originalUrl = url
    request.url = url.slice(mount.length).replace(/^(?!\/)/, '/')
    health.handler(request, response, next)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { health, origin, ask: (path: string, method = 'GET') => ask(origin + path, { method }) }
}

const shown = async (health: ReturnType<typeof createHealth>) =>
  samplesOf(await (await health.fetch(new Request('http://h/metrics'))).text())

test('pages are passed on, or 404, unless they are asked for', async t => {
  for (const options of [{}, { pages: undefined }, { pages: false }]) {
    const { health, ask } = await serve(t, options)
    for (const path of pages) {
      assert.equal((await ask(path)).body, 'own', path)
      assert.equal((await health.fetch(new Request(`http://h${path}`))).status, 404, path)
    }
  }
})

test('handler() and fetch() send the same page: status, headers and body', async t => {
  const { health, ask } = await serve(t, { pages: true })
  for (const path of pages) {
    for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
      const first = await ask(path, method)
      const second = await health.fetch(new Request(`http://h${path}?x`, { method }))
      assert.equal(second.status, first.status, `${method} ${path}`)
      const names = ['content-type', 'cache-control', 'content-security-policy', 'x-frame-options', 'allow']
      for (const name of names) assert.equal(second.headers.get(name) ?? undefined, first.headers[name], name)
      // The figures differ, and with them the length.
      const plain = (body: string) => body.replace(/\d[\d.:TZ-]*/g, '#')
      assert.equal(plain(await second.text()), plain(first.body), `${method} ${path}`)
    }
  }
})

test('pages and checks are below the prefix, and the paths without it stay those of the service', async t => {
  const { ask } = await serve(t, { pages: true, prefix: '/internal' })
  for (const path of pages) {
    assert.equal((await ask(path)).body, 'own', path)
    assert.notEqual((await ask(`/internal${path}?x`)).body, 'own', path)
  }
  for (const path of ['/internal', '/health', '/readyz', '/livez/']) {
    assert.equal((await ask(path)).body, 'own', path)
  }
  assert.equal((await ask('/internal/health')).status, 200)
})

test('pages: at a prefix that is the path of a check, the check answers and not the page', async t => {
  const { ask } = await serve(t, { pages: true, prefix: '/health', check: async () => false })
  for (const path of ['/health', '/health/', '/health/health']) {
    assert.equal((await ask(path)).body, '{"status": "unhealthy","error": "unexpected query result"}', path)
  }
  assert.equal((await ask('/health/metrics')).status, 200)
})

for (const prefix of ['', '/internal']) {
  test(`pages of a handler that is mounted at /internal are there, prefix ${prefix || 'none'}`, async t => {
    const { ask } = await serve(t, { pages: true, prefix }, '/internal')
    for (const path of pages) assert.notEqual((await ask(`/internal${path}`)).body, 'own', path)
    assert.equal((await ask('/internal/', 'POST')).status, 405)
    // The links of the page are relative, so it is not served without the slash.
    for (const path of ['/internal', '/internal?x=/', '/', '/metrics']) {
      assert.equal((await ask(path)).body, 'own', path)
    }
  })
}

test('a handler that is mounted on the path of a check answers the check there, not the page', async t => {
  const { ask } = await serve(t, { pages: true }, '/health')
  for (const path of ['/health', '/health/', '/health?x', '/health/health']) {
    assert.equal((await ask(path)).body, '{"status": "healthy","database": "connected"}', path)
  }
  assert.equal((await ask('/health', 'POST')).headers['allow'], 'GET, HEAD, OPTIONS')
  assert.equal((await ask('/health/metrics')).status, 200)
})

test('the pages show each verdict, also if onVerdict throws, and then the shutdown', async t => {
  let result: 'works' | 'fails' = 'works'
  const { health, ask } = await serve(t, {
    pages: true,
    unhealthyStatus: 500,
    check: async () => result === 'works',
    onVerdict() {
      throw new Error('s3cret')
    },
  })
  assert.equal((await ask('/')).status, 500, 'no check has run')
  await ask('/health')
  assert.equal((await ask('/')).status, 200)
  result = 'fails'
  await ask('/readyz')
  assert.equal((await ask('/')).status, 500)
  const { last } = JSON.parse((await ask('/history')).body)
  assert.equal(last.result, 'bad_result')
  assert.equal((await shown(health)).get('pghealth_checks_total{result="bad_result"}'), 1)
  health.drain()
  const page = await ask('/')
  assert.match(page.body, /server is shutting down/)
  assert.equal(page.headers['connection'], 'close')
})

test('/metrics counts what was answered, and nothing that was passed on', async t => {
  const { health, ask } = await serve(t, { pages: true, prefix: '/internal' })
  for (const path of ['/internal/health', '/health', '/own', '/internal/own']) await ask(path)
  await health.fetch(new Request('http://h/internal/livez'))
  await health.fetch(new Request('http://h/nowhere'))
  const counted = samplesOf((await ask('/internal/metrics')).body)
  const responses = [...counted].filter(([key, count]) => /requests_total/.test(key) && count > 0)
  assert.deepEqual(responses, [
    ['pghealth_http_requests_total{path="/health",code="200"}', 1],
    ['pghealth_http_requests_total{path="/livez",code="200"}', 1],
    ['pghealth_http_requests_total{path="other",code="404"}', 1],
  ])
  assert.equal(counted.get('pghealth_http_request_duration_seconds_count{path="/health"}'), 1)
})

test('/metrics has no rows for the process, the sessions of a pool and the role paths', async () => {
  const keys = [...(await shown(createHealth({ check, pages: true }))).keys()].join('\n')
  assert.match(keys, /^pghealth_build_info\{version="\d+\.\d+\.\d+"\}$/m)
  assert.doesNotMatch(keys, /^(process|nodejs)_|connections_opened|path="\/(primary|replica|read-write)"/m)
})

test('/metrics counts the requests in flight, until a client is gone or has its response', async t => {
  let answer = () => {}
  const answered = new Promise<void>(resolve => {
    answer = resolve
  })
  const { health, origin } = await serve(t, { pages: true, check: () => answered })
  const inFlight = async () => (await shown(health)).get('pghealth_http_requests_in_flight')
  assert.equal(await inFlight(), 1, 'the scrape itself')
  // The request of fetch() starts a check. The other two share the next one.
  const waiting = [health.fetch(new Request('http://h/health')), ask(`${origin}/health`)]
  const gone = send(`${origin}/health`, { agent: false }).on('error', () => {})
  gone.end()
  while ((await inFlight()) !== 4) await nextTurn()
  gone.destroy()
  answer()
  for (const { status } of await Promise.all(waiting)) assert.equal(status, 200)
  // Within one turn the page stays the same.
  await nextTurn()
  assert.equal(await inFlight(), 1)
})
