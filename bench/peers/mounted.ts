// The library in an Express app, on a pg pool of 10.
import express from 'express'
import pg from 'pg'
import { createHealth, pgPool } from 'pg-health'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 10 })
// Without a listener a lost connection ends the process.
pool.on('error', () => {})
const app = express()

app.use(createHealth({ check: pgPool(pool) }).handler)

app.listen(Number(process.env['PORT']), '127.0.0.1')
