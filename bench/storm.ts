// A storm: thousands of connections while the database is healthy, frozen, healthy; and a database that is slow.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Postgres } from '../tests/support/postgres.ts'
import { openProxy } from '../tests/support/proxy.ts'
import { type Asked, openClients } from './clients.ts'
import { BenchError, type Build, settleMs, startProgram } from './program.ts'
import { atMost, figure, type Goal, goalTable, median, type Progress, percentile, table } from './table.ts'

export interface Phase {
  readonly name: string
  readonly answers: number
  readonly healthy: number
  readonly unhealthy: number
  /** Any other status. */
  readonly other: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly rssMb: number
}

export interface Slow extends Phase {
  /** Median of the statements, as the database's side saw them. */
  readonly statementMs: number
  readonly answersPerSecond: number
}

export interface Storm {
  readonly connections: number
  /** Connections that failed or were cut, requests without an answer. */
  readonly lost: number
  readonly phases: readonly Phase[]
  /** Answers that said no after the database was healthy again for as long as a request can wait. */
  readonly saidNo: number
  readonly restMb: number
  /** `settleMs` after all had gone. */
  readonly calmMb: number
  readonly slow: readonly Slow[]
  readonly goals: readonly Goal[]
}

const connections = 5_000
const timeoutMs = 2_000
/** What the client's own event loop, which reads 5,000 connections, may add to a time that it measures. */
const slackMs = 1_000

/** Measures both; throws when this process may not have enough descriptors. */
export async function measureStorm(build: Build, database: Postgres, progress: Progress): Promise<Storm> {
  // Node has raised its own limit to the hard one.
  const limit = Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1])
  if (limit < connections + 200) throw new BenchError(`descriptors are limited to ${limit}: ulimit -Hn 8192`)
  const command = [process.execPath, `${build.folder}/dist/server.js`]
  const storm = await measurePhases(command, database, progress)
  const slow = await measureSlow(command, database, progress)
  const goals = [
    atMost('storm: connections cut, requests without an answer', storm.lost, 0),
    atMost('storm: answers that are neither 200 nor 503', sum(storm.phases, 'other'), 0),
    atMost(
      `storm: slowest answer, ms (HEALTH_TIMEOUT_MS and ${slackMs} of the client's own)`,
      Math.max(...storm.phases.map(({ maxMs }) => maxMs)),
      timeoutMs + slackMs,
    ),
    atMost(
      `storm: memory ${settleMs / 1_000} s after it, beside memory before`,
      storm.calmMb / storm.restMb,
      1.5,
    ),
    atMost('storm: 503 while the database was healthy again', storm.saidNo, 0),
    ...slow.map(({ name, p50Ms, statementMs }) =>
      atMost(`${name}: p50 of answers beside the statement's`, p50Ms / statementMs, 2),
    ),
  ]
  return { connections, ...storm, slow, goals }
}

async function measurePhases(command: readonly string[], database: Postgres, progress: Progress) {
  const server = await startProgram(command, settingsOf(database.url))
  const restMb = server.rssMb()
  progress.show('storm', `${connections} connections`)
  const clients = openClients(Number(new URL(server.url).port), connections, 2_000)
  try {
    while (clients.connected + clients.errors < connections) await sleep(10)
    const phase = async (name: string, over: Promise<unknown>) => {
      progress.show('storm', name)
      await over
      return phaseOf(name, clients.take(), server.rssMb())
    }
    const healthy = await phase('healthy', sleep(6_000))
    database.freeze()
    const frozen = await phase('frozen', sleep(8_000))
    database.thaw()
    // Those who asked while it was frozen may still be told so.
    const thawed = await phase('just thawed', sleep(timeoutMs))
    const lastAnswers = sleep(6_000).then(() => clients.quiet(timeoutMs + 1_000))
    const again = await phase('healthy again', lastAnswers)
    const lost = clients.errors + (await lastAnswers)
    clients.close()
    progress.show('storm', 'all have gone')
    await sleep(settleMs)
    return {
      lost,
      phases: [healthy, frozen, thawed, again],
      saidNo: again.unhealthy,
      restMb,
      calmMb: server.rssMb(),
    }
  } finally {
    database.thaw()
    clients.close()
    await server.stop()
  }
}

function settingsOf(url: string) {
  return { DATABASE_URL: url, HEALTH_TIMEOUT_MS: String(timeoutMs) }
}

/** 1,000 requests a second, whatever the statement takes. */
async function measureSlow(
  command: readonly string[],
  database: Postgres,
  progress: Progress,
): Promise<Slow[]> {
  const proxy = await openProxy(database.port)
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`
  const server = await startProgram(command, settingsOf(url))
  const results: Slow[] = []
  try {
    for (const delayMs of [5, 50, 500]) {
      const name = `${delayMs} ms of latency`
      progress.show('slow database', name)
      proxy.delay(delayMs)
      const clients = openClients(Number(new URL(server.url).port), 2_000, 2_000)
      while (clients.connected + clients.errors < 2_000) await sleep(10)
      await sleep(2_000)
      clients.take()
      const from = performance.now()
      await sleep(6_000)
      const phase = phaseOf(name, clients.take(), server.rssMb())
      const seconds = (performance.now() - from) / 1_000
      const statements = proxy.statements.filter(({ beganAt, answered }) => beganAt >= from && answered)
      const times = statements.map(({ beganAt, endedAt = beganAt }) => endedAt - beganAt)
      results.push({ ...phase, statementMs: median(times), answersPerSecond: phase.answers / seconds })
      await clients.quiet(timeoutMs)
      clients.close()
    }
    return results
  } finally {
    await server.stop()
    await proxy.close()
  }
}

function phaseOf(name: string, asked: readonly Asked[], rssMb: number): Phase {
  const times = asked.map(({ tookMs }) => tookMs)
  const count = (status: number) => asked.filter(answer => answer.status === status).length
  const [healthy, unhealthy] = [count(200), count(503)]
  return {
    name,
    answers: asked.length,
    healthy,
    unhealthy,
    other: asked.length - healthy - unhealthy,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
    maxMs: times.reduce((most, time) => Math.max(most, time), 0),
    rssMb,
  }
}

function sum(phases: readonly Phase[], name: 'other'): number {
  return phases.reduce((total, phase) => total + phase[name], 0)
}

export function printStorm({ connections, lost, phases, restMb, calmMb, slow, goals }: Storm): string {
  const head = ['', 'answers', '200', '503', 'other', 'p50 ms', 'p99 ms', 'slowest ms', 'MB']
  const cells = (phase: Phase) => [
    phase.name,
    ...[phase.answers, phase.healthy, phase.unhealthy, phase.other].map(String),
    ...[phase.p50Ms, phase.p99Ms, phase.maxMs, phase.rssMb].map(figure),
  ]
  const storm = table([`${connections} connections`, ...head.slice(1)], phases.map(cells))
  const latencies = slow.map(one => [...cells(one), figure(one.statementMs), figure(one.answersPerSecond)])
  const second = table(['1,000 requests a second', ...head.slice(1), 'statement ms', 'answers/s'], latencies)
  const memory = `Memory: ${figure(restMb)} MB before, ${figure(calmMb)} MB ${settleMs / 1_000} s after all have gone`
  return `${storm}\nConnections cut, requests without an answer: ${lost}\n${memory}\n\n${second}\n${goalTable(goals)}`
}
