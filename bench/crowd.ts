// Measures how long a new connection waits beside 1,000 clients that keep theirs and ask without a pause.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Postgres } from '../tests/support/postgres.ts'
import { ask } from '../tests/support/server.ts'
import { type Build, startProgram } from './program.ts'
import { atMost, figure, type Goal, goalTable, type Progress, percentile, table } from './table.ts'
import { load } from './wrk.ts'

const peers = { bare: 'bare node:http', ours: 'pg-health' } as const
type Peer = keyof typeof peers

export interface Crowd {
  readonly peer: Peer
  /** Responses per second to the crowd. */
  readonly rate: number
  /** New connections that were answered. */
  readonly probes: number
  /** New connections that failed, or had no response within `patienceMs`. */
  readonly lost: number
  /** From the connect to the response, milliseconds. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

const clients = 1_000
const seconds = 20
/** The connections of the crowd are accepted one by one. Probes begin when that is over. */
const rampMs = 5_000
/** From the start of one probe to the start of the next. Each has a new connection. */
const spacingMs = 100
const patienceMs = 10_000

/** Measures the bare server and pg-health, one after the other. Takes about a minute. */
export async function measureCrowds(build: Build, database: Postgres, progress: Progress): Promise<Crowd[]> {
  const crowds: Crowd[] = []
  for (const peer of ['bare', 'ours'] as const) {
    progress.show(`${clients} clients`, peers[peer])
    const file = peer === 'ours' ? 'server.js' : `bench/peers/${peer}.js`
    const settings = peer === 'ours' ? { DATABASE_URL: database.url } : {}
    const program = await startProgram([process.execPath, `${build.folder}/dist/${file}`], settings)
    try {
      crowds.push({ peer, ...(await measureCrowd(program.url)) })
    } finally {
      await program.stop()
    }
  }
  return crowds
}

async function measureCrowd(url: string): Promise<Omit<Crowd, 'peer'>> {
  const crowd = load(url, clients, seconds)
  const until = performance.now() + seconds * 1_000
  await sleep(rampMs)
  const probes: Promise<number | undefined>[] = []
  while (performance.now() < until) {
    probes.push(probe(url))
    await sleep(spacingMs)
  }
  const times = (await Promise.all(probes)).filter(time => time !== undefined)
  return {
    rate: (await crowd).rate,
    probes: times.length,
    lost: probes.length - times.length,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
    maxMs: Math.max(...times),
  }
}

/** How long one request on a new connection took; undefined if it failed. */
async function probe(url: string): Promise<number | undefined> {
  try {
    const { sentAt, answeredAt } = await ask(url, { signal: AbortSignal.timeout(patienceMs) })
    return answeredAt - sentAt
  } catch {
    return undefined
  }
}

/** The goals of pg-health; the bare server has none. */
export function crowdGoalsOf(crowds: readonly Crowd[]): Goal[] {
  return crowds
    .filter(({ peer }) => peer === 'ours')
    .flatMap(({ p50Ms, lost }) => [
      atMost(`new connection beside ${clients} clients, median, ms`, p50Ms, 250),
      atMost(`new connections beside ${clients} clients without a response`, lost, 0),
    ])
}

/** The table of both servers, and the goals. */
export function printCrowds(crowds: readonly Crowd[]): string {
  const head = [
    `${clients} clients`,
    'answers/s',
    'new connections',
    'lost',
    'p50 ms',
    'p99 ms',
    'slowest ms',
  ]
  const rows = crowds.map(({ peer, rate, probes, lost, p50Ms, p99Ms, maxMs }) => [
    peers[peer],
    figure(rate),
    `${probes}`,
    `${lost}`,
    ...[p50Ms, p99Ms, maxMs].map(figure),
  ])
  return `${table(head, rows)}\n${goalTable(crowdGoalsOf(crowds))}`
}
