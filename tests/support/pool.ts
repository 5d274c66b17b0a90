// A health check on the pool of a service, without HTTP, for tests of what the pool does under faults.
import assert from 'node:assert/strict'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { createProbe } from '../../lib/health/probe.ts'
import type { Verdict } from '../../lib/health/verdict.ts'
import { createPoolSource, type HealthCheck } from '../../lib/pool/source.ts'
import { openPostgres, type Postgres } from './postgres.ts'

const timeoutMs = 500
/** How much later than promised an answer may be on a busy machine, milliseconds. */
export const slackMs = 400
const now = () => performance.now()

/** A health check as a service has it, without HTTP. Counts the calls of `check`. */
export function openHealth(check: HealthCheck, maxPending = 2) {
  const counts = { calls: 0, pending: 0 }
  const counted = async (signal: AbortSignal) => {
    counts.calls += 1
    counts.pending += 1
    try {
      return await check(signal)
    } finally {
      counts.pending -= 1
    }
  }
  const source = createPoolSource({ check: Object.assign(counted, check), maxPending, now })
  const probe = createProbe({
    runCheck: source.check,
    timedOut: source.timedOut,
    phase: () => 'serving',
    now,
    timeoutMs,
  })
  return { ask, askThrice, counts, stop: source.stop }

  /** Sends one request. Fails the test if the answer is late. */
  async function ask(): Promise<Verdict['result']> {
    const arrivedAt = now()
    const verdict = await new Promise<Verdict>((resolve, reject) => probe.check(resolve, reject))
    const lateMs = now() - arrivedAt - timeoutMs
    assert.ok(lateMs < slackMs, `${lateMs} ms late`)
    return verdict.result
  }

  async function askThrice() {
    return [await ask(), await ask(), await ask()]
  }
}

/** A pool of node-postgres, as a service has it, with its counts. */
export function openPool(t: TestContext, port: number, options: pg.PoolConfig = {}) {
  const pool = new pg.Pool({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    max: 3,
    ...options,
  })
  // Without this listener, a restart of PostgreSQL ends the process.
  pool.on('error', () => {})
  // A pool with a connection that was never released does not end: then the test must fail, not hang.
  t.after(() => pool.ending || Promise.race([pool.end(), pause(5_000, undefined, { ref: false })]))
  return Object.assign(pool, { taken: () => pool.totalCount - pool.idleCount })
}

/** Opens all connections of the pool, and leaves them idle. */
export async function fill(pool: pg.Pool) {
  const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()))
  for (const client of clients) client.release()
}

/** Queries of the service that occupy all connections of the pool until the test ends them. */
export async function occupy(pool: pg.Pool) {
  const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()))
  return () => {
    for (const client of clients) client.release()
  }
}

/** A pool of three connections as a service has it, whatever its driver, with a check on it. */
export interface ServicePool {
  readonly check: HealthCheck
  /** Runs one query of the service. */
  query(): PromiseLike<unknown>
  /** Opens all connections, and leaves them idle. */
  fill(): Promise<unknown>
  /** Uses all connections, until the function that it resolves with is called. */
  occupy(): Promise<() => unknown>
  end(): Promise<unknown>
}

/** Opens a pool to 127.0.0.1 that the test ends. */
export type OpenServicePool = (t: TestContext, port: number) => ServicePool

/** What differs between checks. */
export interface Expected {
  /** How often the check is called by three requests while PostgreSQL is frozen. */
  readonly calls: number
  /** How many of its calls have not settled when the last request has been answered. */
  readonly pending: number
  /** What it reports when the service uses its whole pool. */
  readonly exhausted: Verdict['result']
}

/** A plain function: nothing can be called back, so at most two calls are under way. */
export const plain: Expected = { calls: 2, pending: 2, exhausted: 'timeout' }

/** Puts a check on the pool of a service through the faults that every driver must stand, each in a test. */
export function testFaults(name: string, open: OpenServicePool, { calls, pending, exhausted }: Expected) {
  describe(name, () => {
    let server: Postgres
    before(async () => {
      server = await openPostgres()
    })
    after(() => server?.close())

    test(`PostgreSQL is frozen: timed out, ${pending} calls under way, healthy when it thaws`, async t => {
      const { check, fill, query } = open(t, server.port)
      const { ask, askThrice, counts } = openHealth(check)
      await fill()
      server.freeze()
      t.after(() => server.thaw())
      assert.deepEqual(await askThrice(), Array(3).fill('timeout'))
      assert.deepEqual(counts, { calls, pending })
      server.thaw()
      assert.equal(await ask(), 'healthy')
      await query()
    })

    test('PostgreSQL is down: unreachable, and healthy on the first request after its start', async t => {
      const { check, fill } = open(t, server.port)
      const { ask, askThrice } = openHealth(check)
      await fill()
      await server.stop('immediate')
      // The pool may not have noticed yet that its connections are closed.
      assert.match(await ask(), /^(unreachable|connection_lost|shutting_down)$/)
      assert.deepEqual(await askThrice(), Array(3).fill('unreachable'))
      await server.start()
      assert.equal(await ask(), 'healthy')
    })

    test('PostgreSQL restarts while the pool is idle: healthy', async t => {
      const { check, fill } = open(t, server.port)
      const { ask } = openHealth(check)
      await fill()
      await server.stop('fast')
      await server.start()
      assert.equal(await ask(), 'healthy')
    })

    test(`the service uses its whole pool: ${exhausted}, healthy when it is free`, async t => {
      const { check, occupy } = open(t, server.port)
      const { ask, askThrice, counts } = openHealth(check)
      const free = await occupy()
      assert.deepEqual(await askThrice(), Array(3).fill(exhausted))
      assert.equal(counts.pending, pending)
      free()
      assert.equal(await ask(), 'healthy')
    })

    test('the pool has ended: connection_lost', async t => {
      const { check, fill, end } = open(t, server.port)
      const { askThrice } = openHealth(check)
      await fill()
      await end()
      assert.deepEqual(await askThrice(), Array(3).fill('connection_lost'))
    })
  })
}
