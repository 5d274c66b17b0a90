// The whole program as monitoring sees it: what /metrics says, and what Prometheus and its tools make of it.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { METHODS } from 'node:http'
import net from 'node:net'
import { after, before, type TestContext, test } from 'node:test'
import { samplesOf } from './support/metrics.ts'
import { openPostgres, type Postgres } from './support/postgres.ts'
import { openProxy } from './support/proxy.ts'
import { ask, startServer } from './support/server.ts'
import { findTool } from './support/tools.ts'

let postgres: Postgres
before(async () => {
  postgres = await openPostgres()
})
after(() => postgres.close())

async function start(t: TestContext, settings: Record<string, string> = {}) {
  const server = await startServer({ DATABASE_URL: postgres.url, ...settings })
  t.after(() => server.stop('SIGKILL'))
  return server
}

async function startBehindProxy(t: TestContext, settings: Record<string, string> = {}) {
  const proxy = await openProxy(postgres.port)
  t.after(() => proxy.close())
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`
  return { proxy, url, start: () => start(t, { DATABASE_URL: url, ...settings }) }
}

async function scrape(origin: string) {
  return samplesOf((await ask(`${origin}/metrics`)).body)
}

const up = 'pghealth_up'
const counted = (result: string) => `pghealth_checks_total{result="${result}"}`
const answered = (path: string, code: number) => `pghealth_http_requests_total{path="${path}",code="${code}"}`

test('a scrape during the first check, with a database that hangs, is answered at once and says nothing of "up"', async t => {
  const { proxy, start } = await startBehindProxy(t, {
    HEALTH_TIMEOUT_MS: '60000',
    HEALTH_CONNECT_TIMEOUT_MS: '60000',
  })
  proxy.stall()
  const server = await start()
  const waiting = Array.from({ length: 3 }, () => ask(`${server.origin}/health`))
  // On a connection of its own, and answered although those before it wait: no need for a clock.
  let shown = await scrape(server.origin)
  while (shown.get('pghealth_http_requests_in_flight') !== 4) shown = await scrape(server.origin)
  assert.equal(shown.has(up), false)
  assert.equal(shown.has('pghealth_last_check_timestamp_seconds'), false)
  assert.equal(shown.get(answered('/health', 200)), 0)
  proxy.flow()
  await Promise.all(waiting)
  const healed = await scrape(server.origin)
  assert.equal(healed.get(up), 1)
  assert.equal(healed.get(answered('/health', 200)), 3)
  assert.equal(healed.get('pghealth_http_requests_in_flight'), 1)
})

test('a scrape runs no check', async t => {
  const { proxy, start } = await startBehindProxy(t)
  const server = await start()
  await server.event('healthy')
  const statements = proxy.statements.length
  for (let time = 0; time < 20; time += 1) await scrape(server.origin)
  const shown = await scrape(server.origin)
  assert.equal(proxy.statements.length, statements)
  assert.equal(shown.get(counted('healthy')), 1)
})

test('an outage is counted by reason, and its end: what a caller was told is what is shown', async t => {
  const { proxy, start } = await startBehindProxy(t, { HEALTH_TIMEOUT_MS: '600' })
  const server = await start()
  await server.event('healthy')
  const health = async () => (await ask(`${server.origin}/health`)).status
  assert.equal(await health(), 200)
  const before = await scrape(server.origin)
  assert.equal(before.get(up), 1)
  assert.equal(before.get('pghealth_connections_opened_total'), 1)

  proxy.stall()
  assert.equal(await health(), 503)
  assert.equal(await health(), 503)
  const down = await scrape(server.origin)
  assert.equal(down.get(up), 0)
  assert.equal(down.get(counted('connect_timeout')), 2)
  assert.equal(down.get('pghealth_consecutive_failures'), 2)
  assert.equal(down.get('pghealth_state_changes_total'), 1)
  assert.equal(down.get(answered('/health', 503)), 2)

  proxy.flow()
  assert.equal(await health(), 200)
  const healed = await scrape(server.origin)
  assert.equal(healed.get(up), 1)
  assert.equal(healed.get(counted('healthy')), 3)
  assert.equal(healed.get('pghealth_consecutive_failures'), 0)
  assert.equal(healed.get('pghealth_state_changes_total'), 2)
  assert.equal(healed.get('pghealth_connections_opened_total'), 2)
  const name = 'pghealth_last_healthy_timestamp_seconds'
  assert.ok((healed.get(name) ?? 0) > (down.get(name) ?? 0))
  assert.ok(Math.abs((healed.get(name) ?? 0) - Date.now() / 1_000) < 60)
})

test('requests whose time runs out during one check are counted, and the check is measured once', async t => {
  const { proxy, start } = await startBehindProxy(t, { HEALTH_TIMEOUT_MS: '600' })
  const server = await start()
  await server.event('healthy')
  proxy.stall()
  const answers: Promise<unknown>[] = []
  for (let client = 0; client < 6; client += 1) {
    answers.push(ask(`${server.origin}/health`))
    // Their pace: each has a deadline of its own.
    await new Promise(resolve => setTimeout(resolve, 60))
  }
  await Promise.all(answers)
  const shown = await scrape(server.origin)
  const verdicts = [...shown].filter(([key]) => key.startsWith('pghealth_checks_total'))
  const total = verdicts.reduce((sum, [, count]) => sum + count, 0)
  const measured = shown.get('pghealth_check_duration_seconds_count') ?? 0
  assert.ok(measured < total, `${measured} of ${total}`)
  assert.equal(shown.get('pghealth_http_request_duration_seconds_count{path="/health"}'), 6)
})

test('HEALTH_DETAILS=off: /metrics is not there', async t => {
  const server = await start(t, { HEALTH_DETAILS: 'off' })
  assert.equal((await ask(`${server.origin}/metrics`)).status, 404)
})

test('/metrics has its exact content type, and HEAD and OPTIONS have its status', async t => {
  const server = await start(t)
  const page = await ask(`${server.origin}/metrics?name[]=pghealth_up`)
  assert.equal(page.status, 200)
  assert.equal(page.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  assert.equal(page.headers['content-length'], String(Buffer.byteLength(page.body)))
  for (const method of ['HEAD', 'OPTIONS']) {
    const answer = await ask(`${server.origin}/metrics`, { method })
    assert.deepEqual([answer.status, answer.body], [200, ''], method)
  }
  assert.equal((await ask(`${server.origin}/metrics`, { method: 'POST' })).status, 405)
})

test('paths and methods that nobody knows do not grow the page', async t => {
  const server = await start(t)
  await server.event('healthy')
  // The second shows the lag of the event loop, too.
  await scrape(server.origin)
  const before = await scrape(server.origin)
  const paths = ['constructor', '__proto__', 'health"} 1\\n', 'metrics/x', '%00', '?a=b', 'x{le="1"}']
  const targets = [...paths, ...Array.from({ length: 200 }, (_, index) => `${index}`)]
  for (const target of targets) await ask(`${server.origin}/`, { path: `/${target.replaceAll(' ', '%20')}` })
  // CONNECT takes another way through Node.
  for (const method of METHODS.filter(name => name !== 'CONNECT')) {
    for (const path of ['/health', '/metrics', '/x']) await ask(server.origin, { path, method })
  }
  await sendRaw(new URL(server.origin), 'HACK /health HTTP/1.1\r\nhost: x\r\n\r\n')
  const now = await scrape(server.origin)
  assert.deepEqual([...now.keys()], [...before.keys()])
  const others = (now.get(answered('other', 404)) ?? 0) - (before.get(answered('other', 404)) ?? 0)
  assert.ok(others >= targets.length, `${others}`)
  assert.ok((now.get(answered('/metrics', 405)) ?? 0) > 10)
})

/** What no client library would send; resolves when the server has closed. */
async function sendRaw({ port, hostname }: URL, text: string) {
  const socket = net.connect(Number(port), hostname, () => socket.end(text))
  socket.resume()
  await once(socket, 'close')
}

test('promtool finds nothing to say about the page', async t => {
  const promtool = findTool(t, 'promtool')
  if (promtool === undefined) return
  const server = await start(t)
  await server.event('healthy')
  await scrape(server.origin)
  const { body } = await ask(`${server.origin}/metrics`)
  const { status, stdout, stderr } = spawnSync(promtool, ['check', 'metrics'], {
    input: body,
    encoding: 'utf8',
  })
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' })
})
