// createHealth() with a connection of its own, and with a pool of node-postgres, beside a real PostgreSQL.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import express from 'express'
import { createHealth, pgPool } from '../../library.ts'
import { administer, backendOf, terminate } from '../support/administer.ts'
import { runChild } from '../support/child.ts'
import { samplesOf } from '../support/metrics.ts'
import { occupy, openPool } from '../support/pool.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { ask as askServer, startServer } from '../support/server.ts'

const healthy = '{"status": "healthy","database": "connected"}'
const ask = async (health: ReturnType<typeof createHealth>) =>
  (await health.fetch(new Request('http://h/health'))).text()

describe('createHealth()', () => {
  let server: Postgres
  before(async () => {
    server = await openPostgres()
  })
  after(() => server?.close())

  test('database: one session, opened by the first request, ended by close()', async () => {
    const health = createHealth({ database: server.url })
    assert.ok(Number.isNaN(await backendOf(server.url)))
    assert.deepEqual(await Promise.all([ask(health), ask(health), ask(health)]), [healthy, healthy, healthy])
    const [{ count } = {}] = await administer(
      server.url,
      "select count(*)::int from pg_stat_activity where application_name = 'pg-health'",
    )
    assert.equal(count, 1)
    await terminate(server.url)
    assert.equal(await ask(health), healthy)
    await health.close()
    assert.equal(await ask(health), '{"status": "unhealthy","error": "server is shutting down"}')
    assert.ok(Number.isNaN(await backendOf(server.url)))
  })

  test('check: a pool that the service has used up is told from a database that is down', async t => {
    const pool = openPool(t, server.port)
    const health = createHealth({ check: pgPool(pool), timeoutMs: 300 })
    assert.equal(await ask(health), healthy)
    const release = await occupy(pool)
    assert.equal(await ask(health), '{"status": "unhealthy","error": "connection pool exhausted"}')
    release()
    assert.equal(await ask(health), healthy)
    await health.close()
    assert.equal((await pool.query('SELECT 1 AS one')).rows[0].one, 1)
  })

  test('pages: the same pages as the program, with the same headers, below the prefix', async t => {
    const program = await startServer({ DATABASE_URL: server.url })
    t.after(() => program.stop('SIGKILL'))
    await program.event('healthy')
    const health = createHealth({ database: server.url, pages: true, prefix: '/internal' })
    const origin = await originOf(t, createServer(health.handler).listen(0, '127.0.0.1'))
    assert.equal((await askServer(`${origin}/internal/health`)).status, 200)

    for (const path of ['/', '/history', '/metrics']) {
      for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
        const [theirs, ours] = [
          await askServer(program.origin + path, { method }),
          await askServer(`${origin}/internal${path}`, { method }),
        ]
        assert.deepEqual([ours.status, steady(ours.headers)], [theirs.status, steady(theirs.headers)], path)
        if (path === '/') assert.equal(withoutFigures(ours.body), withoutFigures(theirs.body), method)
      }
    }
    const keysOf = async (url: string) => Object.keys(JSON.parse((await askServer(url)).body))
    assert.deepEqual(await keysOf(`${origin}/internal/history`), await keysOf(`${program.origin}/history`))
    const namesOf = async (url: string) => [...samplesOf((await askServer(url)).body).keys()]
    const ofProcess = /^(process|nodejs)_|path="\/(primary|read-write|replica)"/
    const expected = (await namesOf(`${program.origin}/metrics`)).filter(name => !ofProcess.test(name))
    assert.deepEqual(await namesOf(`${origin}/internal/metrics`), expected)
    assert.ok(expected.includes('pghealth_connections_opened_total'))
    await health.close()
  })

  test('pages in Express 5: mounted below a path, they are there, and the rest of the paths are its own', async t => {
    const app = express()
    app.use('/internal', createHealth({ check: async () => 1, pages: true }).handler)
    app.get('/', (_request, response) => void response.send('own'))
    const origin = await originOf(t, app.listen(0, '127.0.0.1'))
    const typeOf = async (path: string) => (await askServer(origin + path)).headers['content-type']
    assert.equal(await typeOf('/internal/'), 'text/html; charset=utf-8')
    assert.equal(await typeOf('/internal/history'), 'application/json')
    assert.equal(await typeOf('/internal/metrics'), 'text/plain; version=0.0.4; charset=utf-8')
    assert.equal((await askServer(`${origin}/internal`)).status, 404)
    assert.equal((await askServer(`${origin}/`)).body, 'own')
  })

  test('a process ends by itself after close(), whatever the source', async () => {
    const library = new URL('../../library.ts', import.meta.url).href
    const program = `
      const { createHealth } = await import(${JSON.stringify(library)})
      const database = process.argv[1]
      const health = createHealth(database ? { database } : { check: async () => 1 })
      console.log(await (await health.fetch(new Request('http://h/health'))).text())
      await health.close()`
    for (const database of [server.url, '']) {
      const args = [
        '--import',
        import.meta.resolve('tsx'),
        '--input-type=module',
        '--eval',
        program,
        database,
      ]
      const cwd = fileURLToPath(new URL('../../', import.meta.url))
      const { code, output } = await runChild(process.execPath, args, { cwd })
      assert.deepEqual([code, output], [0, `${healthy}\n`])
    }
  })
})

async function originOf(t: TestContext, server: Server): Promise<string> {
  if (!server.listening) await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The headers that do not depend on time or on figures in the body. */
function steady(headers: IncomingHttpHeaders) {
  const varying = ['date', 'content-length', 'x-process-time-ms', 'server-timing']
  return Object.entries(headers).filter(([name]) => !varying.includes(name))
}

/** The page without what was measured in the last hour, and without times. */
function withoutFigures(page: string): string {
  return page.replace(/<main>.*<\/main>/s, '').replace(/[\d.:]+/g, '#')
}
