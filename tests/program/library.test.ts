// createHealth() with a connection of its own, and with a pool of node-postgres, beside a real PostgreSQL.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createHealth, pgPool } from '../../library.ts'
import { administer, backendOf, terminate } from '../support/administer.ts'
import { runChild } from '../support/child.ts'
import { occupy, openPool } from '../support/pool.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'

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
