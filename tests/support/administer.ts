// What an operator does to PostgreSQL, with another client than the one under test.
import pg from 'pg'
import type { Postgres } from './postgres.ts'

/** Runs statements one after the other, on one new connection. Resolves with the rows of the last. */
export async function administer(url: string, ...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    let rows: Record<string, unknown>[] = []
    for (const statement of statements) rows = (await client.query(statement)).rows
    return rows
  } finally {
    await client.end()
  }
}

/** The process id of the backend that serves the program under test. */
export async function backendOf(url: string): Promise<number> {
  const [row] = await administer(
    url,
    "select pid from pg_stat_activity where application_name = 'pg-health' and backend_type = 'client backend'",
  )
  return Number(row?.['pid'])
}

/** Ends the sessions of the program under test, as an operator would, and resolves when they are gone. */
export async function terminate(url: string): Promise<void> {
  await administer(
    url,
    "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'pg-health'",
  )
}

/** Resolves when the server has logged `phrase` so many times, after the first `from` characters of its log. */
export async function logged(postgres: Postgres, phrase: string, from: number, times = 1): Promise<void> {
  while (postgres.log().slice(from).split(phrase).length <= times) {
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
