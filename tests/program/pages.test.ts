// The pages of the running program: which methods they answer, with which headers, and that they send no query.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy } from '../support/proxy.ts'
import { ask, type Running, startServer } from '../support/server.ts'

const pages = {
  '/': 'text/html; charset=utf-8',
  '/history': 'application/json',
  '/metrics': 'text/plain; version=0.0.4; charset=utf-8',
}

let postgres: Postgres
let proxy: Awaited<ReturnType<typeof openProxy>>
let open: Running
let closed: Running
before(async () => {
  postgres = await openPostgres()
  proxy = await openProxy(postgres.port)
  const settings = { DATABASE_URL: `postgres://postgres@127.0.0.1:${proxy.port}/postgres` }
  open = await startServer(settings)
  closed = await startServer({ ...settings, HEALTH_DETAILS: 'off' })
  for (const server of [open, closed]) await server.event('healthy')
})
after(async () => {
  await Promise.all([open?.stop('SIGKILL'), closed?.stop('SIGKILL')])
  await proxy?.close()
  await postgres?.close()
})

for (const [path, type] of Object.entries(pages)) {
  test(`${path}: GET and HEAD are answered 200, other methods 405; no query is sent`, async () => {
    const statements = proxy.statements.length
    for (const target of [path, `${path}?x=1`]) {
      const get = await ask(open.origin + target)
      const head = await ask(open.origin + target, { method: 'HEAD' })
      assert.deepEqual([get.status, head.status, head.body], [200, 200, ''])
      assert.equal(get.headers['content-length'], String(Buffer.byteLength(get.body)))
      for (const { headers } of [get, head]) {
        assert.equal(headers['content-type'], type)
        assert.equal(headers['cache-control'], 'no-store')
        assert.match(String(headers['x-process-time-ms']), /^\d+$/)
        assert.match(String(headers['server-timing']), /^total;dur=[\d.]+$/)
        assert.equal(headers['transfer-encoding'], undefined)
      }
      for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
        const { status, headers, body } = await ask(open.origin + target, { method })
        assert.deepEqual([status, body], [405, '{"error": "method not allowed"}'], method)
        assert.equal(headers['allow'], 'GET, HEAD')
      }
    }
    assert.equal(proxy.statements.length, statements)
    // The proxy does count.
    await ask(`${open.origin}/health`)
    assert.equal(proxy.statements.length, statements + 1)
  })

  test(`${path} with HEALTH_DETAILS=off: 404, whatever the method, and nothing of the page`, async () => {
    for (const target of [path, `${path}?x=1`]) {
      for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
        const { status, headers, body } = await ask(closed.origin + target, { method })
        assert.deepEqual([status, headers['content-type']], [404, 'application/json'], method)
        assert.equal(body, method === 'HEAD' ? '' : '{"error": "not found"}')
        assert.equal(headers['content-security-policy'], undefined)
      }
    }
  })
}

test('HEALTH_DETAILS=off leaves /health and /livez open', async () => {
  for (const path of ['/health', '/livez']) assert.equal((await ask(closed.origin + path)).status, 200)
})
