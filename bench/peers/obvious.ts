// The naive handler: a statement for every request, through a postgres.js pool of 10.
import { createServer } from 'node:http'
import postgres from 'postgres'

const sql = postgres(process.env['DATABASE_URL'] ?? '', { max: 10 })

createServer(async (_request, response) => {
  try {
    await sql`SELECT 1`
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end('{"status": "healthy","database": "connected"}')
  } catch {
    response.writeHead(503, { 'content-type': 'application/json' })
    response.end('{"status": "unhealthy","error": "database error"}')
  }
}).listen(Number(process.env['PORT']), '127.0.0.1')
