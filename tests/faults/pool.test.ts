// The pool of a service under faults: the check answers in time, says why, and does not eat the pool.
import assert from 'node:assert/strict'
import { after, before, describe, type TestContext, test } from 'node:test'
import type pg from 'pg'
import postgres from 'postgres'
import { pgPool } from '../../lib/pool/pg.ts'
import { administer } from '../support/administer.ts'
import { fatal, openPeer, row, type Scenario, welcome } from '../support/peer.ts'
import { fill, occupy, openHealth, openPool, plain, slackMs, testFaults } from '../support/pool.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy, type Proxy as TcpProxy } from '../support/proxy.ts'

const now = () => performance.now()

describe('a pool of node-postgres, with pgPool', () => {
  let server: Postgres
  before(async () => {
    server = await openPostgres()
  })
  after(() => server?.close())

  async function openBehindProxy(t: TestContext, options: pg.PoolConfig = {}) {
    const proxy = await openProxy(server.port)
    t.after(() => proxy.close())
    const pool = openPool(t, proxy.port, options)
    return { proxy, pool, ...openHealth(pgPool(pool)) }
  }

  /** The way to PostgreSQL swallows everything; then it works again, but what was swallowed is lost. */
  async function outage(proxy: TcpProxy, during: () => Promise<unknown>) {
    proxy.stallOpen()
    await proxy.treat('swallow')
    await during()
    await proxy.treat('pass')
  }

  for (const max of [2, 3]) {
    test(`the way stalls and recovers, pool of ${max}: the service and the check go on immediately`, async t => {
      const { proxy, pool, ask, askThrice } = await openBehindProxy(t, { max })
      await fill(pool)
      assert.equal(await ask(), 'healthy')
      await outage(proxy, async () => {
        for (let round = 0; round < 3; round += 1) {
          for (const result of await askThrice()) assert.match(result, /^(timeout|connect_timeout)$/)
          assert.ok(pool.taken() <= max - 1, `${pool.taken()} of ${max} connections are taken`)
          assert.equal(pool.waitingCount, 0)
        }
      })
      assert.equal((await pool.query('SELECT 1 AS one')).rows[0].one, 1)
      assert.equal(await ask(), 'healthy')
    })
  }

  test('the way stalls and recovers while the service is idle: healthy again after 5 s at most', async t => {
    const { proxy, pool, ask, askThrice } = await openBehindProxy(t)
    await proxy.treat('swallow')
    assert.deepEqual(await askThrice(), Array(3).fill('connect_timeout'))
    assert.equal(pool.taken(), 2)
    await proxy.treat('pass')
    const recoveredAt = now()
    while ((await ask()) !== 'healthy') assert.ok(now() - recoveredAt < 5_000 + slackMs)
  })

  test('PostgreSQL is frozen: timed out, no slot is held after the deadline, healthy when it thaws', async t => {
    const pool = openPool(t, server.port)
    const { ask, askThrice } = openHealth(pgPool(pool))
    await fill(pool)
    server.freeze()
    t.after(() => server.thaw())
    assert.deepEqual(await askThrice(), Array(3).fill('timeout'))
    assert.equal(pool.totalCount, 0)
    assert.deepEqual(await askThrice(), Array(3).fill('connect_timeout'))
    assert.equal(pool.taken(), 2, 'connections that are opening cannot be called back')
    server.thaw()
    assert.equal(await ask(), 'healthy')
    assert.equal((await pool.query('SELECT 1 AS one')).rows[0].one, 1)
  })

  test('PostgreSQL is frozen while the service uses its whole pool: pool_exhausted', async t => {
    const pool = openPool(t, server.port)
    const { ask, askThrice } = openHealth(pgPool(pool))
    await fill(pool)
    server.freeze()
    t.after(() => server.thaw())
    const queries = Promise.all([1, 2, 3].map(() => pool.query('SELECT 1')))
    assert.deepEqual(await askThrice(), Array(3).fill('pool_exhausted'))
    server.thaw()
    await queries
    assert.equal(await ask(), 'healthy')
  })

  test('PostgreSQL is down: unreachable, and healthy on the first request after its start', async t => {
    const pool = openPool(t, server.port)
    const { ask, askThrice } = openHealth(pgPool(pool))
    await fill(pool)
    await server.stop('immediate')
    // The pool may not have noticed yet that its connections are closed.
    assert.match(await ask(), /^(unreachable|connection_lost|shutting_down)$/)
    assert.deepEqual(await askThrice(), Array(3).fill('unreachable'))
    assert.equal(pool.totalCount, 0)
    await server.start()
    assert.equal(await ask(), 'healthy')
  })

  test('PostgreSQL restarts while the pool is idle: healthy', async t => {
    const pool = openPool(t, server.port)
    const { ask } = openHealth(pgPool(pool))
    await fill(pool)
    await server.stop('fast')
    await server.start()
    assert.equal(await ask(), 'healthy')
  })

  test('the service uses its whole pool: pool_exhausted, one place in its queue, healthy when it is free', async t => {
    const pool = openPool(t, server.port)
    const { ask, askThrice } = openHealth(pgPool(pool))
    const free = await occupy(pool)
    for (let round = 0; round < 2; round += 1) {
      assert.deepEqual(await askThrice(), Array(3).fill('pool_exhausted'))
      assert.equal(pool.waitingCount, 1)
    }
    free()
    assert.equal(await ask(), 'healthy')
    assert.equal(pool.waitingCount, 0)
    assert.equal(pool.idleCount, 3)
  })

  test('the place in the queue serves the check that comes after the one that asked for it', async t => {
    const pool = openPool(t, server.port)
    const { ask } = openHealth(pgPool(pool))
    const free = await occupy(pool)
    assert.equal(await ask(), 'pool_exhausted')
    const answer = ask()
    // A query of the service that comes later waits behind the place.
    const query = pool.query('SELECT 1')
    free()
    assert.equal(await answer, 'healthy')
    await query
  })

  test('the pool is exhausted, and limits the wait for a connection itself: pool_exhausted', async t => {
    const pool = openPool(t, server.port, { connectionTimeoutMillis: 200 })
    const { askThrice } = openHealth(pgPool(pool))
    const free = await occupy(pool)
    assert.deepEqual(await askThrice(), Array(3).fill('pool_exhausted'))
    free()
  })

  test('the pool has ended: connection_lost', async t => {
    const pool = openPool(t, server.port)
    const { ask, askThrice } = openHealth(pgPool(pool))
    assert.equal(await ask(), 'healthy')
    await pool.end()
    assert.deepEqual(await askThrice(), Array(3).fill('connection_lost'))
  })

  test('the pool ends while a check has a place in its queue: pool.end() resolves', async t => {
    const pool = openPool(t, server.port)
    const { ask } = openHealth(pgPool(pool))
    const free = await occupy(pool)
    assert.equal(await ask(), 'pool_exhausted')
    const ended = pool.end()
    assert.equal(await ask(), 'connection_lost')
    free()
    await ended
  })

  test('the connection breaks while the check has it: connection_lost, and the process lives', async t => {
    const { proxy, pool, ask } = await openBehindProxy(t)
    await fill(pool)
    proxy.stallOpen()
    const answer = ask()
    while (proxy.statements.length === 0) await new Promise(resolve => setImmediate(resolve))
    proxy.reset()
    assert.equal(await answer, 'connection_lost')
    assert.equal(await ask(), 'healthy')
  })

  test('the service shuts down during a check: the slot is free immediately', async t => {
    const { proxy, pool, ask, stop } = await openBehindProxy(t)
    await fill(pool)
    proxy.stallOpen()
    const answer = ask()
    while (proxy.statements.length === 0) await new Promise(resolve => setImmediate(resolve))
    stop()
    assert.equal(await answer, 'stopping')
    assert.deepEqual({ total: pool.totalCount, idle: pool.idleCount }, { total: 2, idle: 2 })
    assert.equal(await ask(), 'stopping')
  })

  test('connections that have gone silent: each is dropped by one check, then a new one is healthy', async t => {
    const { proxy, pool, ask, askThrice } = await openBehindProxy(t)
    await fill(pool)
    proxy.stallOpen()
    assert.deepEqual(await askThrice(), Array(3).fill('timeout'))
    assert.equal(pool.totalCount, 0)
    assert.equal(await ask(), 'healthy')
  })

  test('a connection that the service left in a failed transaction: unhealthy once, then replaced', async t => {
    const pool = openPool(t, server.port, { max: 1 })
    const { ask } = openHealth(pgPool(pool))
    const client = await pool.connect()
    await client.query('BEGIN')
    await client.query('SELECT 1/0').catch(() => {})
    client.release()
    assert.equal(await ask(), 'unknown')
    assert.equal(await ask(), 'healthy')
  })

  test('PostgreSQL has no connection left: pool_exhausted', async t => {
    const pool = openPool(t, server.port)
    const { ask } = openHealth(pgPool(pool))
    await administer(server.url, 'create role narrow login connection limit 0')
    t.after(() => administer(server.url, 'drop role narrow'))
    pool.options.user = 'narrow'
    assert.equal(await ask(), 'pool_exhausted')
  })
})

describe('a pool of node-postgres, with pgPool, and a server that stops in the same packet', () => {
  const shutdown = fatal('57P01', 'terminating connection due to administrator command')

  async function openOnPeer(t: TestContext, scenario: Scenario) {
    const peer = await openPeer(scenario)
    t.after(() => peer.close())
    const pool = openPool(t, peer.port, { max: 1 })
    return { pool, ...openHealth(pgPool(pool)) }
  }

  test('as the end of the login: shutting_down, and the process lives', async t => {
    const startup = Buffer.concat([welcome, shutdown])
    const { pool, ask } = await openOnPeer(t, { startup, statement: () => row('1') })
    assert.equal(await ask(), 'shutting_down')
    assert.equal(pool.totalCount, 0)
  })

  test('as the answer to a query of the service, before the check: shutting_down, and the process lives', async t => {
    const statement = () => Buffer.concat([row('1'), shutdown])
    const { pool, ask } = await openOnPeer(t, { startup: welcome, statement })
    const query = pool.query('SELECT 1 AS one')
    const answer = ask()
    assert.equal(pool.waitingCount, 1, 'the check has its place before the answer arrives')
    await query
    assert.equal(await answer, 'shutting_down')
    assert.equal(pool.totalCount, 0)
  })
})

const drivers = {
  'node-postgres'(t: TestContext, port: number, connectTimeoutMs?: number) {
    const pool = openPool(t, port, connectTimeoutMs ? { connectionTimeoutMillis: connectTimeoutMs } : {})
    return {
      check: () => pool.query('SELECT 1'),
      fill: () => fill(pool),
      query: () => pool.query('SELECT 1'),
      occupy: () => occupy(pool),
      end: () => pool.end(),
    }
  },
  'postgres.js'(t: TestContext, port: number, connectTimeoutMs = 30_000) {
    const sql = postgres({
      host: '127.0.0.1',
      port,
      user: 'postgres',
      max: 3,
      connect_timeout: connectTimeoutMs / 1_000,
      backoff: () => 0,
      onnotice() {},
    })
    t.after(() => sql.end({ timeout: 0 }))
    const all = () => Promise.all(Array.from({ length: 3 }, () => sql`SELECT pg_sleep(0.05)`))
    return {
      check: () => sql`SELECT 1`,
      fill: all,
      query: () => sql`SELECT 1`,
      async occupy() {
        const reserved = await Promise.all(Array.from({ length: 3 }, () => sql.reserve()))
        return () => {
          for (const one of reserved) one.release()
        }
      },
      end: () => sql.end(),
    }
  },
}

for (const [driver, open] of Object.entries(drivers)) {
  testFaults(`a plain function, with ${driver}`, open, plain)
}

describe('a plain function, and the pool limits connecting', () => {
  let server: Postgres
  before(async () => {
    server = await openPostgres()
  })
  after(() => server?.close())

  for (const [driver, open] of Object.entries(drivers)) {
    test(`${driver}: the way stalls and recovers: healthy again`, async t => {
      const proxy = await openProxy(server.port)
      t.after(() => proxy.close())
      const { check, query } = open(t, proxy.port, 800)
      const { ask, askThrice } = openHealth(check)
      await proxy.treat('swallow')
      for (const result of await askThrice()) assert.match(result, /^(timeout|connect_timeout)$/)
      await proxy.treat('pass')
      await query()
      const recoveredAt = now()
      while ((await ask()) !== 'healthy') assert.ok(now() - recoveredAt < 800 + slackMs)
    })
  }
})
