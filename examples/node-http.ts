// A service on node:http and postgres.js: /health runs a query through the pool of the service.
// In this checkout: DATABASE_URL=postgres://… node --import tsx examples/node-http.ts
import { createServer, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createHealth } from 'pg-health'
import postgres from 'postgres'

const sql = postgres(process.env['DATABASE_URL'] ?? '', { connect_timeout: 4 })
const health = createHealth({ check: () => sql`SELECT 1` })

const server = createServer((request, response) => {
  health.handler(request, response, () => answer(response))
})
server.listen(process.env['PORT'] ?? 3000, () => console.log('listening', server.address()))

async function answer(response: ServerResponse) {
  try {
    const [row] = await sql`SELECT now() AS now`
    response.setHeader('content-type', 'application/json').end(JSON.stringify(row))
  } catch (error) {
    console.error(error)
    response.writeHead(500).end()
  }
}

process.once('SIGTERM', async () => {
  // From now on /health answers 503. The load balancer needs some time to notice.
  health.drain()
  await sleep(Number(process.env['DRAIN_MS'] ?? 5_000))
  server.close(() => sql.end())
})
