// No server: SELECT 1 through postgres.js, one after the other for SECONDS; prints the median in milliseconds.
import postgres from 'postgres'

const sql = postgres(process.env['DATABASE_URL'] ?? '', { max: 1 })
const warmUntil = performance.now() + 500
const endsAt = warmUntil + Number(process.env['SECONDS']) * 1000
const times: number[] = []

for (let now = performance.now(); now < endsAt; ) {
  await sql`SELECT 1`
  const then = now
  now = performance.now()
  if (then > warmUntil) times.push(now - then)
}
await sql.end()
process.stdout.write(`${times.sort((a, b) => a - b)[times.length >> 1]}\n`)
