// ORMs under faults: their wrapped errors get the right reason, and pgPool works on the pool below them.
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import knex from 'knex'
import { pgPool } from '../../lib/pool/pg.ts'
import { fill, type OpenServicePool, openPool, plain, testFaults } from '../support/pool.ts'

/** Begins three transactions of the service. Each uses a connection, until the function that it gives ends them. */
async function occupyBy(transaction: (run: () => Promise<void>) => Promise<unknown>) {
  let end = () => {}
  const ended = new Promise<void>(resolve => {
    end = resolve
  })
  const transactions: Promise<unknown>[] = []
  const begin = () =>
    new Promise<void>((resolve, reject) => {
      const run = () => {
        resolve()
        return ended
      }
      const running = transaction(run)
      running.catch(reject)
      transactions.push(running)
    })
  await Promise.all([begin(), begin(), begin()])
  return () => {
    end()
    return Promise.all(transactions)
  }
}

function openDrizzle(...[t, port]: Parameters<OpenServicePool>) {
  const pool = openPool(t, port)
  const db = drizzle(pool)
  const query = () => db.execute(sql`SELECT 1`)
  return {
    pool,
    query,
    check: query,
    fill: () => fill(pool),
    occupy: () => occupyBy(run => db.transaction(run)),
    end: () => pool.end(),
  }
}

testFaults('Drizzle, with its own query', openDrizzle, plain)

testFaults(
  'Drizzle, with pgPool on the pool below it',
  (...at) => {
    const { pool, ...service } = openDrizzle(...at)
    return { ...service, check: pgPool(pool) }
  },
  { calls: 3, pending: 0, exhausted: 'pool_exhausted' },
)

testFaults(
  'Knex, with its own query',
  (t, port) => {
    const db = knex({
      client: 'pg',
      connection: { host: '127.0.0.1', port, user: 'postgres', database: 'postgres' },
      pool: { min: 0, max: 3 },
      log: { warn() {}, error() {} },
    })
    t.after(() => db.destroy())
    const query = () => db.raw('SELECT 1')
    const occupy = () => occupyBy(run => db.transaction(run))
    return {
      query,
      check: query,
      async fill() {
        const free = await occupy()
        await free()
      },
      occupy,
      end: () => db.destroy(),
    }
  },
  plain,
)
