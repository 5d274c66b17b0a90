// A health check on the pool of a service, without HTTP, for tests of what the pool does under faults.
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import pg from 'pg'
import { createProbe } from '../../lib/health/probe.ts'
import type { Verdict } from '../../lib/health/verdict.ts'
import { createForeignSource, type HealthCheck } from '../../lib/pool/foreign.ts'

const timeoutMs = 500
/** How much later than promised an answer may be on a busy machine, milliseconds. */
export const slackMs = 400
const now = () => performance.now()

/** A health check as a service has it, without HTTP. */
export function openHealth(check: HealthCheck, maxPending = 2) {
  const source = createForeignSource({ check, maxPending, now })
  const probe = createProbe({
    runCheck: source.check,
    timedOut: source.timedOut,
    phase: () => 'serving',
    now,
    timeoutMs,
  })
  return { ask, askThrice, source }

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
  t.after(() => pool.ending || pool.end())
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
