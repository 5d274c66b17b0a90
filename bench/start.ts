// Start and footprint: the first healthy answer, memory at rest and after load, processor time at rest.
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Postgres } from '../tests/support/postgres.ts'
import { BenchError, type Build, type Program, root, settleMs, startProgram } from './program.ts'
import { atMost, figure, type Goal, goalTable, median, type Progress, table } from './table.ts'
import { load } from './wrk.ts'

export interface StartOptions {
  readonly rounds: number
  readonly minutes: number
  /** Seconds. */
  readonly idle: number
  /** A Node.js that runs TypeScript by itself. */
  readonly node: string | undefined
}

/** Start and memory at rest are medians over the runs; the others were measured once. */
export interface Row {
  readonly name: string
  /** Why it could not be measured; then there are no figures. */
  readonly skipped?: string
  readonly startMs?: number
  readonly restMb?: number
  readonly loadedMb?: number
  /** `settleMs` after the load. */
  readonly calmMb?: number
  readonly idleMsPerMinute?: number
}

interface Candidate {
  readonly name: string
  readonly command: readonly string[]
  readonly skipped?: string
}

/** V8 tidies up once after a start, too: 60 ms, some 8 s later. */
const startedMs = 15_000

const bareName = 'bare node:http'
const oursName = 'compiled JS'

/** Measures each way to run the program in turn, then all of them at once at rest, under load and after it. */
export async function measureStart(
  build: Build,
  database: Postgres,
  options: StartOptions,
  progress: Progress,
) {
  const settings = { DATABASE_URL: database.url }
  const candidates = await findCandidates(build, options.node)
  const able = candidates.filter(({ skipped }) => skipped === undefined)
  const starts = new Map<string, { startMs: number; restMb: number }[]>(able.map(({ name }) => [name, []]))
  for (let round = 0; round < options.rounds; round += 1) {
    for (const { name, command } of able) {
      progress.show('start', `round ${round + 1} of ${options.rounds}, ${name}`)
      const program = await startProgram(command, settings)
      await sleep(1_000)
      starts.get(name)?.push({ startMs: program.startMs, restMb: program.rssMb() })
      await program.stop()
    }
  }
  const running = new Map<string, Program>()
  try {
    for (const { name, command } of able) running.set(name, await startProgram(command, settings))
    const programs = [...running.values()]
    progress.show('rest', `${options.idle} s`)
    await sleep(startedMs)
    const before = mapOf(running, program => program.cpuMicros())
    await sleep(options.idle * 1_000)
    const idle = mapOf(running, (program, name) => (program.cpuMicros() - (before.get(name) ?? 0)) / 1_000)
    progress.show('load', `64 clients each, ${options.minutes} min`)
    const seconds = Math.max(1, Math.round(options.minutes * 60))
    await Promise.all(programs.map(({ url }) => load(url, 64, seconds)))
    const loaded = mapOf(running, program => program.rssMb())
    progress.show('rest', 'until V8 has given memory back')
    await sleep(settleMs)
    const calm = mapOf(running, program => program.rssMb())
    return candidates.map(({ name, skipped }): Row => {
      if (skipped !== undefined) return { name, skipped }
      const runs = starts.get(name) ?? []
      return {
        name,
        startMs: median(runs.map(run => run.startMs)),
        restMb: median(runs.map(run => run.restMb)),
        loadedMb: loaded.get(name) ?? Number.NaN,
        calmMb: calm.get(name) ?? Number.NaN,
        idleMsPerMinute: ((idle.get(name) ?? Number.NaN) * 60) / options.idle,
      }
    })
  } finally {
    for (const program of running.values()) await program.stop()
  }
}

async function findCandidates(build: Build, newer: string | undefined): Promise<readonly Candidate[]> {
  const node = newer ?? process.execPath
  const { stdout } = await promisify(execFile)(node, ['--version']).catch(() => {
    throw new BenchError(`${node} can't be run`)
  })
  const [, major = 0, minor = 0] = (/^v(\d+)\.(\d+)/.exec(stdout) ?? []).map(Number)
  const strips = major > 22 || (major === 22 && minor >= 18)
  return [
    { name: bareName, command: [process.execPath, `${build.folder}/dist/bench/peers/bare.js`] },
    { name: oursName, command: [process.execPath, `${build.folder}/dist/server.js`] },
    { name: 'tsx', command: [process.execPath, '--import', 'tsx', `${root}server.ts`] },
    {
      name: `stripped types, Node.js ${stdout.trim()}`,
      command: [node, `${root}server.ts`],
      ...(strips ? {} : { skipped: 'it needs Node.js 22.18 or newer: --node PATH' }),
    },
  ]
}

function mapOf(running: ReadonlyMap<string, Program>, read: (program: Program, name: string) => number) {
  return new Map([...running].map(([name, program]) => [name, read(program, name)]))
}

export function startGoalsOf(rows: readonly Row[]): Goal[] {
  const bare = rows.find(({ name }) => name === bareName)
  const ours = rows.find(({ name }) => name === oursName)
  const above = (name: 'startMs' | 'restMb' | 'loadedMb') =>
    (ours?.[name] ?? Number.NaN) - (bare?.[name] ?? 0)
  return [
    atMost('compiled JS: first healthy answer after that of the bare server, ms', above('startMs'), 60),
    atMost('compiled JS: memory at rest above the bare server, MB', above('restMb'), 8),
    atMost('compiled JS: memory after load above the bare server, MB', above('loadedMb'), 15),
    atMost('compiled JS: processor time at rest, ms a minute', ours?.idleMsPerMinute ?? Number.NaN, 20),
  ]
}

export function printStart(rows: readonly Row[]): string {
  const head = [
    '',
    'first healthy answer ms',
    'MB at rest',
    'MB after load',
    `MB ${settleMs / 1_000} s later`,
    'CPU at rest, ms a minute',
  ]
  const cells = rows.map(({ name, skipped, ...row }) =>
    skipped === undefined
      ? [name, row.startMs, row.restMb, row.loadedMb, row.calmMb, row.idleMsPerMinute].map(cell =>
          typeof cell === 'string' ? cell : figure(cell),
        )
      : [`${name}: ${skipped}`, '–', '–', '–', '–', '–'],
  )
  return `${table(head, cells)}\n${goalTable(startGoalsOf(rows))}`
}
