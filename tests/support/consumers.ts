// Programs that ask pg-health: real ones as child processes, and the rules of a kubelet or a load balancer.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Child, runChild, startChild } from './child.ts'
import { openPostgres, type Postgres } from './postgres.ts'
import { ask, type Running, startServer } from './server.ts'

/** Where a recipe is. */
export function recipe(path: string): string {
  return fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url))
}

/** A fault of a database, how it is undone, and the sentences that a client may read while it lasts. */
export interface Fault {
  readonly name: string
  strike(postgres: Postgres): Promise<void> | void
  mend(postgres: Postgres): Promise<void> | void
  readonly told: RegExp
}

export const faults: readonly Fault[] = [
  {
    name: 'stopped',
    strike: postgres => postgres.stop(),
    mend: postgres => postgres.start(),
    told: /database unreachable/,
  },
  {
    name: 'frozen',
    strike: postgres => postgres.freeze(),
    mend: postgres => postgres.thaw(),
    told: /database connection timed out|health check timed out/,
  },
]

/** PostgreSQL and the program in front of it, with its own defaults; both end with the test. */
export async function openService(
  t: TestContext,
  settings: Readonly<Record<string, string>> = {},
): Promise<{ postgres: Postgres; server: Running }> {
  const postgres = await openPostgres()
  t.after(() => postgres.close())
  const server = await startServer({ DATABASE_URL: postgres.url, ...settings })
  t.after(() => server.stop('SIGKILL'))
  await server.event('healthy')
  return { postgres, server }
}

/** A temporary folder for a program; it is deleted after the test. */
export function openFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-consumer-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Starts another program with only these environment variables; it ends with the test. */
export function startProgram(
  t: TestContext,
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Child {
  const env = { PATH: process.env['PATH'], LC_ALL: 'C', ...environment }
  const child = startChild(command, args, { env })
  t.after(() => {
    child.process.kill('SIGTERM')
    return child.ended
  })
  return child
}

/** Runs another program to its end. Resolves with its exit code and all that it has written. */
export async function runProgram(
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
) {
  const env = { PATH: process.env['PATH'], ...environment }
  const { code, output } = await runChild(command, args, { env })
  return { code, output }
}

/** How a prober decides, from its requests, whether a service is in or out. */
export interface Rule {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly accepts: (answer: { readonly status: number; readonly body: string }) => boolean
  readonly timeoutMs: number
  /** So many failures in a row take the service out, so many successes in a row put it back. */
  readonly fall: number
  readonly rise: number
}

export type Judge = ReturnType<typeof createJudge>

/** A prober that follows the rule. It leaves out the pauses between its requests, as nothing happens in them. */
export function createJudge(rule: Rule, origin: string, first: 'in' | 'out') {
  let state = first
  let against = 0

  /** Asks once. Gives the answer, undefined when none came in time, and the state after it. */
  async function judge() {
    const signal = AbortSignal.timeout(rule.timeoutMs)
    const headers = { ...rule.headers, connection: 'close' }
    const answer = await ask(`${origin}${rule.path}`, { signal, headers }).catch(() => undefined)
    const accepted = answer !== undefined && rule.accepts(answer)
    against = accepted === (state === 'in') ? 0 : against + 1
    if (against === (state === 'in' ? rule.fall : rule.rise)) {
      state = state === 'in' ? 'out' : 'in'
      against = 0
    }
    return { answer, state }
  }

  /** Asks so many times. Gives the state after each. */
  async function states(times: number) {
    const seen: string[] = []
    for (let asked = 0; asked < times; asked += 1) seen.push((await judge()).state)
    return seen
  }
  return { judge, states }
}
