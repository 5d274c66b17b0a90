// Answers a second beside what people would use instead: interleaved rounds, paired ratios to the bare server.
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Postgres } from '../tests/support/postgres.ts'
import { type Build, type Program, runProgram, startProgram } from './program.ts'
import { atLeast, atMost, figure, type Goal, goalTable, median, type Progress, table } from './table.ts'
import { load } from './wrk.ts'

const peers = ['bare', 'ours', 'obvious', 'fastify', 'mounted', 'express'] as const
type Peer = (typeof peers)[number]

const names: Readonly<Record<Peer, string>> = {
  bare: 'bare node:http',
  ours: 'pg-health',
  obvious: 'naive handler',
  fastify: 'Fastify and pg',
  mounted: 'createHealth() in Express',
  express: 'naive handler in Express',
}

export interface LoadOptions {
  readonly clients: readonly number[]
  readonly rounds: number
  readonly seconds: number
}

/** Medians over the rounds; a ratio is the median, lowest and highest of what each round gave beside the bare server. */
export interface Figures {
  readonly rate: number
  readonly ratio: readonly [median: number, lowest: number, highest: number]
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p99Ratio: number
  readonly errors: number
  readonly statementsPerSecond: number
  readonly cpuMicros: number
  readonly rssMb: number
}

export interface Level {
  readonly clients: number
  readonly peers: Readonly<Record<Peer, Figures>>
  /** SELECT 1 through postgres.js alone; measured with one client only. */
  readonly selectMs: number | undefined
}

interface Round {
  readonly rate: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
  readonly cpuMicros: number
}

/** Measures every level with fresh processes; takes about clients × 6 × (rounds × seconds + 3) seconds. */
export async function measureLoad(
  build: Build,
  database: Postgres,
  options: LoadOptions,
  progress: Progress,
) {
  const sql = postgres(database.url, { max: 1, onnotice() {} })
  // A database for each, so that the statistics tell them apart.
  for (const peer of peers) await sql.unsafe(`CREATE DATABASE ${peer}`)
  const levels: Level[] = []
  for (const clients of options.clients) {
    levels.push(await measureLevel({ build, database, options, progress, sql }, clients))
  }
  await sql.end()
  return levels
}

interface Parts {
  readonly build: Build
  readonly database: Postgres
  readonly options: LoadOptions
  readonly progress: Progress
  readonly sql: postgres.Sql
}

async function measureLevel(
  { build, database, options, progress, sql }: Parts,
  clients: number,
): Promise<Level> {
  const urlOf = (peer: string) => database.url.replace(/postgres$/, peer)
  const chapter = `${clients} client${clients === 1 ? '' : 's'}`
  const running = new Map<Peer, Program>()
  const before = await committed(sql)
  const rounds = new Map<Peer, Round[]>(peers.map(peer => [peer, []]))
  const answers = new Map<Peer, number>()
  const selects: number[] = []
  try {
    for (const peer of peers) {
      progress.show(chapter, `${names[peer]} starts and warms up`)
      const file = peer === 'ours' ? 'server.js' : `bench/peers/${peer}.js`
      const settings = peer === 'bare' ? {} : { DATABASE_URL: urlOf(peer) }
      const program = await startProgram([process.execPath, `${build.folder}/dist/${file}`], settings)
      running.set(peer, program)
      await measure(peer, 2)
    }
    for (let round = 0; round < options.rounds; round += 1) {
      for (const peer of rotate(peers, round)) {
        progress.show(chapter, `round ${round + 1} of ${options.rounds}, ${names[peer]}`)
        rounds.get(peer)?.push(await measure(peer, options.seconds))
      }
      if (clients === 1) selects.push(await measureSelect(build, database.url, options.seconds))
    }
    const rss = new Map(peers.map(peer => [peer, running.get(peer)?.rssMb() ?? 0]))
    await stopAll(running)
    const after = await committed(sql)
    const statements = (peer: Peer) => (after.get(peer) ?? 0) - (before.get(peer) ?? 0)
    const figuresOf = (peer: Peer) => [
      peer,
      summarise(rounds, peer, statements(peer) / (answers.get(peer) ?? 1), rss.get(peer) ?? 0),
    ]
    return {
      clients,
      peers: Object.fromEntries(peers.map(figuresOf)),
      selectMs: clients === 1 ? median(selects) : undefined,
    }
  } finally {
    await stopAll(running)
  }

  async function measure(peer: Peer, seconds: number): Promise<Round> {
    const program = running.get(peer)
    if (!program) throw new Error(`${peer} is not running`)
    const cpuBefore = program.cpuMicros()
    const { rate, p50Ms, p99Ms, errors, answers: count } = await load(program.url, clients, seconds)
    answers.set(peer, (answers.get(peer) ?? 0) + count)
    return { rate, p50Ms, p99Ms, errors, cpuMicros: (program.cpuMicros() - cpuBefore) / count }
  }
}

async function measureSelect(build: Build, url: string, seconds: number): Promise<number> {
  const command = [process.execPath, `${build.folder}/dist/bench/peers/select.js`]
  return Number(await runProgram(command, { DATABASE_URL: url, SECONDS: String(seconds) }))
}

async function stopAll(running: Map<Peer, Program>) {
  for (const [peer, program] of running) {
    running.delete(peer)
    await program.stop()
  }
}

/** Transactions of each database. A backend adds its own to the statistics at the latest when it ends: wait for that. */
async function committed(sql: postgres.Sql): Promise<Map<string, number>> {
  for (;;) {
    const [open] =
      await sql`SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = ANY(${[...peers]})`
    if (open?.['n'] === 0) break
    await sleep(20)
  }
  const rows =
    await sql`SELECT datname, xact_commit::float8 AS n FROM pg_stat_database WHERE datname = ANY(${[...peers]})`
  return new Map(rows.map(row => [row['datname'], row['n']]))
}

function summarise(
  rounds: Map<Peer, Round[]>,
  peer: Peer,
  statementsPerAnswer: number,
  rssMb: number,
): Figures {
  const own = rounds.get(peer) ?? []
  const bare = rounds.get('bare') ?? []
  const medianOf = (name: keyof Round) => median(own.map(round => round[name]))
  const ratios = (name: keyof Round) =>
    own.map((round, index) => round[name] / (bare[index]?.[name] ?? Number.NaN))
  const rates = ratios('rate')
  return {
    rate: medianOf('rate'),
    ratio: [median(rates), Math.min(...rates), Math.max(...rates)],
    p50Ms: medianOf('p50Ms'),
    p99Ms: medianOf('p99Ms'),
    p99Ratio: median(ratios('p99Ms')),
    errors: own.reduce((sum, round) => sum + round.errors, 0),
    statementsPerSecond: statementsPerAnswer * medianOf('rate'),
    cpuMicros: medianOf('cpuMicros'),
    rssMb,
  }
}

function rotate<T>(list: readonly T[], by: number): T[] {
  const start = by % list.length
  return [...list.slice(start), ...list.slice(0, start)]
}

/** The goals that these levels can tell about. */
export function goalsOf(levels: readonly Level[]): Goal[] {
  const goals: Goal[] = []
  for (const { clients, peers, selectMs } of levels) {
    const { bare, ours, obvious, mounted, express } = peers
    if (selectMs !== undefined) {
      goals.push(
        atMost('1 client: p50, ms; bare + 1.15 × SELECT 1', ours.p50Ms, bare.p50Ms + 1.15 * selectMs),
      )
    }
    const inExpress = `${clients} client${clients === 1 ? '' : 's'}: rate in Express beside the naive handler`
    if (clients === 1) goals.push(atLeast(inExpress, mounted.rate / express.rate, 0.9))
    if (clients !== 64 && clients !== 512) continue
    goals.push(atLeast(inExpress, mounted.rate / express.rate, 2))
    goals.push(atLeast(`${clients} clients: rate beside the bare server`, ours.ratio[0], 0.95))
    goals.push(atLeast(`${clients} clients: rate beside the naive handler`, ours.rate / obvious.rate, 3))
    if (clients === 64) goals.push(atMost('64 clients: p99 beside the bare server', ours.p99Ratio, 1.3))
  }
  const many = levels.filter(({ clients }) => clients >= 64).map(({ peers }) => peers.ours)
  if (many.length > 1) {
    const peak = Math.max(...levels.map(({ peers }) => peers.ours.rate))
    const rises = many
      .slice(1)
      .map((one, at) => one.statementsPerSecond / (many[at]?.statementsPerSecond ?? 0))
    goals.push(atMost('64 and more: statements a second beside fewer clients', Math.max(...rises), 1))
    goals.push(
      atLeast(
        '64 and more: lowest rate beside the peak',
        Math.min(...many.map(({ rate }) => rate)) / peak,
        0.7,
      ),
    )
  }
  return goals
}

export function printLoad(levels: readonly Level[]): string {
  const head = [
    'clients',
    'server',
    'answers/s',
    'of bare (lowest–highest)',
    'p50 ms',
    'p99 ms',
    'errors',
    'statements/s',
    'µs CPU/answer',
    'MB',
  ]
  const rows = levels.flatMap(({ clients, peers: figures }) =>
    peers.map(peer => {
      const { rate, ratio, p50Ms, p99Ms, errors, statementsPerSecond, cpuMicros, rssMb } = figures[peer]
      const beside = peer === 'bare' ? '1' : `${figure(ratio[0])} (${figure(ratio[1])}–${figure(ratio[2])})`
      const statements = peer === 'bare' ? '–' : figure(statementsPerSecond)
      return [
        String(clients),
        names[peer],
        figure(rate),
        beside,
        figure(p50Ms),
        figure(p99Ms),
        String(errors),
        statements,
        figure(cpuMicros),
        figure(rssMb),
      ]
    }),
  )
  const select = levels.find(({ selectMs }) => selectMs !== undefined)?.selectMs
  const note = select === undefined ? '' : `\nSELECT 1 through postgres.js alone, p50: ${figure(select)} ms\n`
  return `${table(head, rows)}${note}\n${goalTable(goalsOf(levels))}`
}
