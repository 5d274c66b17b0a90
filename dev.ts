// Runs the server with a throwaway PostgreSQL, for `npm run dev`.
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { NoBinariesError, openPostgres, type Postgres } from './tests/support/postgres.ts'

let server: ChildProcess | undefined
let stopping = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, passOn)

say('starting a throwaway PostgreSQL…')
try {
  const postgres = await openPostgres()
  say(`PostgreSQL ${postgres.pid} is up in ${postgres.folder}: ${postgres.url}`)
  // After a Ctrl-C during the start of PostgreSQL there is nothing left to do, and that is no failure.
  process.exitCode = stopping ? 0 : await serve(postgres)
  await postgres.close()
} catch (error) {
  if (!(error instanceof NoBinariesError)) throw error
  say(`${error.message}; set DATABASE_URL to your own server and run: npm start`)
  process.exitCode = 1
}

/** Runs the server until it ends; resolves with its exit code. */
function serve(postgres: Postgres): Promise<number> {
  const path = fileURLToPath(new URL('server.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, path, ...process.argv.slice(2)], {
    env: { ...environmentWithoutDatabase(), DATABASE_URL: postgres.url },
    // A process group of its own: otherwise Ctrl-C would reach it twice, from the terminal and from us.
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  server = child
  return new Promise(resolve => {
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
}

/** The first signal stops the server, and a second one ends it immediately. The server ignores npm's echo of Ctrl-C. */
function passOn(signal: NodeJS.Signals) {
  stopping = true
  server?.kill(signal)
}

/** The environment without the developer's own database, so that the server finds the throwaway one. */
function environmentWithoutDatabase(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|DATABASE_URL)/.test(name))
  return Object.fromEntries(kept)
}

function say(line: string) {
  process.stderr.write(`${line}\n`)
}
