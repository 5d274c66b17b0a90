// Those who ask us: their real programs as processes of a test, and the rule by which a kubelet or a balancer judges.
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

/** What happens to a database, how it ends, and the sentences that a caller may read meanwhile. */
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

/** A folder of its own for a program, which is gone after the test. */
export function openFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-consumer-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Starts somebody's program in an environment of its own; it ends with the test. */
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

/** Runs somebody's program to its end. */
export async function runProgram(
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
) {
  const env = { PATH: process.env['PATH'], ...environment }
  const { code, output } = await runChild(command, args, { env })
  return { code, output }
}

/** How somebody who asks again and again makes up its mind. */
export interface Rule {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly accepts: (answer: { readonly status: number; readonly body: string }) => boolean
  readonly timeoutMs: number
  /** So many failures in a row take us out, so many successes in a row put us back. */
  readonly fall: number
  readonly rise: number
}

export type Judge = ReturnType<typeof createJudge>

/** Makes up its mind by the rule, one ask after the other. The pauses between are left out: nothing happens in them. */
export function createJudge(rule: Rule, origin: string, first: 'in' | 'out') {
  let state = first
  let against = 0

  /** Asks once; gives what was read, if anything was in time, and what it thinks now. */
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

  /** Asks so many times; gives what it thought after each. */
  async function states(times: number) {
    const seen: string[] = []
    for (let asked = 0; asked < times; asked += 1) seen.push((await judge()).state)
    return seen
  }
  return { judge, states }
}
