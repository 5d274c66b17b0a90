// An Express service on a pool of node-postgres: /health asks that pool, and a shutdown loses no request.
// In this checkout: DATABASE_URL=postgres://… node --import tsx examples/express.ts
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import pg from 'pg'
import { createHealth, pgPool } from 'pg-health'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], connectionTimeoutMillis: 5_000 })
// Without this listener, a restart of PostgreSQL ends the process.
pool.on('error', error => console.error('lost an idle connection:', error.message))
const health = createHealth({ check: pgPool(pool) })

const app = express()
app.use(health.handler)
app.get('/', async (_request, response) => {
  const { rows } = await pool.query('SELECT now() AS now')
  response.json(rows[0])
})
const server = app.listen(process.env['PORT'] ?? 3000, () => console.log('listening', server.address()))

process.once('SIGTERM', async () => {
  // From now on /health answers 503. The load balancer needs some time to notice.
  health.drain()
  await sleep(Number(process.env['DRAIN_MS'] ?? 5_000))
  server.close(() => pool.end())
})
