// The page and its data, as the program serves them.
import assert from 'node:assert/strict'
import { after, before, describe, type TestContext, test } from 'node:test'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy } from '../support/proxy.ts'
import { ask, startServer } from '../support/server.ts'

describe('the program', () => {
  let postgres: Postgres
  before(async () => {
    postgres = await openPostgres()
  })
  after(() => postgres.close())

  async function start(t: TestContext, settings: Record<string, string> = {}) {
    const server = await startServer({ DATABASE_URL: postgres.url, ...settings })
    t.after(() => server.stop('SIGKILL'))
    await server.event('healthy')
    return server
  }

  test('opening the pages sends no query to the database', async t => {
    const proxy = await openProxy(postgres.port)
    const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`
    const { origin } = await start(t, { DATABASE_URL: url })
    t.after(() => proxy.close())
    const count = proxy.statements.length
    for (let round = 0; round < 20; round += 1) {
      for (const path of ['/', '/history']) assert.equal((await ask(origin + path)).status, 200)
    }
    assert.equal(proxy.statements.length, count)
    await ask(`${origin}/health`)
    assert.equal(proxy.statements.length, count + 1)
  })

  test('a failure is on the page with status 503, at the time that the log says; the rest stays 200', async t => {
    const { origin, event } = await start(t)
    await postgres.stop()
    t.after(() => postgres.start())
    await ask(`${origin}/health`)
    const { time, reason } = await event('unhealthy')
    const { changes } = JSON.parse((await ask(`${origin}/history`)).body)
    assert.deepEqual(changes[0].reasons, [reason])
    assert.ok(Math.abs(Date.parse(changes[0].at) - Date.parse(String(time))) < 1_000)
    for (const [path, status] of Object.entries({
      '/': 503,
      '/history': 200,
      '/metrics': 200,
      '/livez': 200,
    })) {
      const [get, head] = [await ask(origin + path), await ask(origin + path, { method: 'HEAD' })]
      assert.deepEqual([get.status, head.status, head.body], [status, status, ''], path)
    }
    assert.match((await ask(`${origin}/`)).body, /<h1>Unhealthy<\/h1>\s*<p><b>database unreachable<\/b>/)
  })

  test('HEALTH_UNHEALTHY_STATUS is the status of the page, too', async t => {
    const { origin, event } = await start(t, { HEALTH_UNHEALTHY_STATUS: '200' })
    await postgres.stop()
    t.after(() => postgres.start())
    await ask(`${origin}/health`)
    await event('unhealthy')
    const { status, body } = await ask(`${origin}/`)
    assert.equal(status, 200)
    assert.match(body, /<h1>Unhealthy<\/h1>/)
  })

  test('during a shutdown the page has status 503 and says why; /history stays 200', async t => {
    const server = await start(t, { DRAIN_MS: '5000' })
    assert.equal((await ask(`${server.origin}/`)).status, 200)
    server.child.kill('SIGTERM')
    await server.event('stopping')
    const { status, body } = await ask(`${server.origin}/`)
    assert.equal(status, 503)
    assert.match(body, /<h1>Unhealthy<\/h1>\s*<p><b>server is shutting down<\/b>/)
    assert.equal((await ask(`${server.origin}/history`)).status, 200)
  })

  test('the pages answer GET and HEAD, and 405 to other methods, with the headers of every answer', async t => {
    const { origin } = await start(t)
    for (const path of ['/', '/history']) {
      const get = await ask(origin + path)
      const head = await ask(origin + path, { method: 'HEAD' })
      assert.deepEqual([get.status, head.status, head.body], [200, 200, ''])
      for (const { headers } of [get, head]) {
        assert.equal(headers['cache-control'], 'no-store')
        assert.equal(headers['content-type'], path === '/' ? 'text/html; charset=utf-8' : 'application/json')
        assert.match(String(headers['x-process-time-ms']), /^\d+$/)
        assert.match(String(headers['server-timing']), /^total;dur=[\d.]+$/)
        assert.match(String(headers['content-security-policy']), /^default-src 'none'; /)
      }
      assert.equal(get.headers['content-length'], String(Buffer.byteLength(get.body)))
      for (const method of ['POST', 'OPTIONS'])
        assert.equal((await ask(origin + path, { method })).status, 405)
    }
  })

  test('nothing in a request changes the page: no query, no Accept, no Host', async t => {
    const { origin } = await start(t)
    // Between two requests only times differ.
    const steady = (body: string) => body.replace(/\d+/g, '')
    const plain = await ask(`${origin}/`)
    for (const path of ['/?', '/?x=<script>', '/?details=off', `/?${'a'.repeat(4_000)}`]) {
      const { status, body } = await ask(origin + path)
      assert.deepEqual([status, steady(body)], [200, steady(plain.body)])
    }
    const hostile = [
      { accept: 'application/json' },
      { accept: '<script>' },
      { 'accept-encoding': 'gzip, br', 'accept-language': 'de' },
      { host: '"><script>alert(1)</script>' },
      { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-prefix': '//evil.example' },
    ]
    for (const headers of hostile) {
      const answer = await ask(`${origin}/`, { headers })
      assert.deepEqual(
        [answer.status, steady(answer.body)],
        [200, steady(plain.body)],
        JSON.stringify(headers),
      )
      assert.deepEqual(Object.keys(answer.headers), Object.keys(plain.headers))
    }
  })

  test('HEALTH_DETAILS=off: /, /history and /metrics answer 404 and nothing else; /health stays', async t => {
    const { origin } = await start(t, { HEALTH_DETAILS: 'off' })
    for (const path of ['/', '/?x', '/history', '/metrics']) {
      for (const method of ['GET', 'HEAD', 'POST']) {
        const { status, headers, body } = await ask(origin + path, { method })
        assert.deepEqual([status, headers['content-type']], [404, 'application/json'])
        assert.equal(headers['content-security-policy'], undefined)
        assert.equal(body, method === 'HEAD' ? '' : '{"error": "not found"}')
      }
    }
    assert.equal((await ask(`${origin}/health`)).status, 200)
  })
})
