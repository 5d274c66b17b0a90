// The obvious handler in an Express app: a statement for every request, through a pg pool of 10.
import express from 'express'
import pg from 'pg'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 10 })
// Without a listener a lost connection ends the process.
pool.on('error', () => {})
const app = express()

app.get('/health', async (_request, response) => {
  try {
    await pool.query('SELECT 1')
    response.json({ status: 'healthy', database: 'connected' })
  } catch {
    response.status(503).json({ status: 'unhealthy', error: 'database error' })
  }
})

app.listen(Number(process.env['PORT']), '127.0.0.1')
