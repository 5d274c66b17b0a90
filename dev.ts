// The same server with a throwaway PostgreSQL, for `npm run dev`.

import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { NoBinariesError, openPostgres, type Postgres } from './tests/support/postgres.ts'

let server: ChildProcess | undefined
let stopping = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, passOn)

say('starting a throwaway PostgreSQL…')
try {
  const postgres = await openPostgres()
  say(`PostgreSQL ${postgres.pid} is up in ${postgres.folder}: ${postgres.url}`)
  // Ctrl-C may have come meanwhile: a stop that was asked for is no failure.
  process.exitCode = stopping ? 0 : await serve(postgres)
  await postgres.close()
} catch (error) {
  if (!(error instanceof NoBinariesError)) throw error
  say(`${error.message}; set DATABASE_URL to a server of yours and run: npm start`)
  process.exitCode = 1
}

/** Runs the server until it ends; resolves with its exit code. */
function serve(postgres: Postgres): Promise<number> {
  const path = fileURLToPath(new URL('server.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, path, ...process.argv.slice(2)], {
    env: { ...environmentWithoutDatabase(), DATABASE_URL: postgres.url },
    // Out of the terminal's reach: a Ctrl-C that came to it twice, by the terminal and by us, would cut it off.
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  server = child
  return new Promise(resolve => {
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
}

/** The first makes the server stop, a second makes it exit at once; it knows the echo of a Ctrl-C that npm passes on. */
function passOn(signal: NodeJS.Signals) {
  stopping = true
  server?.kill(signal)
}

/** The server shall find this database and no other. */
function environmentWithoutDatabase(): NodeJS.ProcessEnv {
  const mine = Object.entries(process.env).filter(([name]) => !/^(PG|DATABASE_URL)/.test(name))
  return Object.fromEntries(mine)
}

function say(line: string) {
  process.stderr.write(`${line}\n`)
}
