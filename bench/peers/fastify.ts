// What a Node team would write: Fastify, and a statement for every request through a pg pool of 10.
import fastify from 'fastify'
import pg from 'pg'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 10 })
// Without a listener a lost connection ends the process.
pool.on('error', () => {})
const app = fastify()

app.get('/health', async (_request, reply) => {
  try {
    await pool.query('SELECT 1')
    return { status: 'healthy', database: 'connected' }
  } catch {
    return reply.code(503).send({ status: 'unhealthy', error: 'database error' })
  }
})

await app.listen({ port: Number(process.env['PORT']), host: '127.0.0.1' })
