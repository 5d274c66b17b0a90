// A Hono service without a pool: /health has one connection of its own, as the program has it.
// In this checkout: DATABASE_URL=postgres://… node --import tsx examples/hono.ts
import { setTimeout as sleep } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { createHealth } from 'pg-health'

const health = createHealth({ database: process.env['DATABASE_URL'] })

const app = new Hono()
for (const path of ['/health', '/readyz', '/livez']) {
  app.all(path, context => health.fetch(context.req.raw))
}
app.get('/', context => context.json({ now: new Date() }))
const server = serve({ fetch: app.fetch, port: Number(process.env['PORT'] ?? 3000) }, address =>
  console.log('listening', address),
)

process.once('SIGTERM', async () => {
  // From now on /health answers 503. The load balancer needs some time to notice.
  health.drain()
  await sleep(Number(process.env['DRAIN_MS'] ?? 5_000))
  server.close(() => health.close())
})
