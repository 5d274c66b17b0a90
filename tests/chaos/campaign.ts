// Runs the program between many clients and a failing PostgreSQL, and records everything that the judge needs.
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openPostgres } from '../support/postgres.ts'
import { openProxy } from '../support/proxy.ts'
import { ask, type Running, startServer } from '../support/server.ts'
import { startCrowd } from './crowd.ts'
import { configuration, login, prepare, type Stage } from './faults.ts'
import type { Fault, Interval, Objection, Recording } from './judge.ts'
import { createSchedule, type Step } from './schedule.ts'

export interface Progress {
  readonly elapsedMs: number
  /** How many faults there have been. */
  readonly faults: number
  /** What is wrong at the moment; empty when nothing is. */
  readonly names: readonly string[]
  readonly answers: number
}

/** What the program's process uses. */
export interface Usage {
  readonly descriptors: number
  readonly memoryMb: number
}

export interface Campaign {
  readonly recording: Recording
  /** Requests that ended because the client left. */
  readonly abandoned: number
  /** Undefined on systems other than Linux. */
  readonly usage: { readonly before: Usage; readonly after: Usage } | undefined
  /** What was wrong with the process, not with an answer. */
  readonly objections: readonly Objection[]
}

export const timeoutMs = 1_000
export const connectTimeoutMs = 2_000
export const settings = {
  HEALTH_TIMEOUT_MS: `${timeoutMs}`,
  HEALTH_CONNECT_TIMEOUT_MS: `${connectTimeoutMs}`,
  // The least that is allowed, so that a session is replaced during every fault.
  HEALTH_SESSION_MAX_AGE_MS: '1000',
}

export interface CampaignOptions {
  /** It lasts this long, and then until the current fault is over (milliseconds). */
  readonly minutes: number
  readonly seed: number
  readonly tell: (progress: Progress) => void
  /** Ends it early, with a rejection. */
  readonly signal: AbortSignal
}

/** Runs a campaign. Everything that it starts has ended when it resolves or rejects. */
export async function runCampaign(options: CampaignOptions): Promise<Campaign> {
  const endings: (() => unknown)[] = []
  try {
    const postgres = await openPostgres(configuration)
    endings.push(() => postgres.close())
    await prepare(postgres)
    const proxy = await openProxy(postgres.port)
    endings.push(() => proxy.close())
    const password = encodeURIComponent(login.password)
    const url = `postgres://${login.user}:${password}@127.0.0.1:${proxy.port}/${login.database}`
    const program = await startServer({ DATABASE_URL: url, ...settings })
    endings.push(() => program.stop('SIGKILL'))
    await program.event('healthy')
    const stage = { postgres, proxy, pid: program.child.pid ?? 0 }
    return await record(stage, program, options, end => endings.push(end))
  } finally {
    for (const end of endings.reverse()) await end()
  }
}

async function record(
  stage: Stage,
  program: Running,
  { minutes, seed, tell, signal }: CampaignOptions,
  later: (end: () => unknown) => void,
): Promise<Campaign> {
  const { proxy, pid } = stage
  const pauses: Interval[] = []
  const faults: Fault[] = []
  const before = usageOf(pid)
  const stopWatching = watchOurselves(pauses)
  later(stopWatching)
  const crowd = startCrowd(program.origin)
  later(crowd.stop)
  const beganAt = performance.now()
  const schedule = createSchedule(seed)
  while (performance.now() - beganAt < minutes * 60_000) {
    const step = schedule.next().value
    report([])
    await sleep(step.quietMs, undefined, { signal })
    report(step.faults.map(({ name }) => name))
    await suffer(step)
  }
  // From here on clients meet a working database, and the judge knows of no fault.
  await sleep(connectTimeoutMs, undefined, { signal })
  await crowd.stop()
  stopWatching()
  const objections = await inspect(program, before)
  const connections = proxy.connections.map((openedAt, index) => ({
    openedAt,
    closedAt: proxy.closures[index],
  }))
  const { exchanges, abandoned } = crowd
  const { statements } = proxy
  return {
    recording: { exchanges, statements, connections, faults, pauses, timeoutMs, connectTimeoutMs },
    abandoned,
    usage: before && { before, after: usageOf(pid) ?? before },
    objections,
  }

  function report(names: readonly string[]) {
    const elapsedMs = performance.now() - beganAt
    tell({ elapsedMs, faults: faults.length, names, answers: crowd.exchanges.length })
  }

  async function suffer({ faults: inflicted, holdMs, amount }: Step) {
    const undone: (() => Promise<void>)[] = []
    try {
      for (const { name, explains, layer, inflict } of inflicted) {
        const from = performance.now()
        const undo = await inflict(stage, amount)
        undone.push(async () => {
          await undo()
          const interval = { from, until: performance.now() }
          faults.push({ name, explains, ...interval })
          if (layer === 'machine') pauses.push(interval)
        })
      }
      const leastMs = inflicted.map(({ leastHoldMs = 0 }) => leastHoldMs)
      await sleep(Math.max(holdMs, ...leastMs), undefined, { signal })
    } finally {
      for (const undo of undone.reverse()) await undo()
    }
  }
}

/** Records when this process did not run: what it saw then, it saw late. */
export function watchOurselves(pauses: Interval[]): () => void {
  const tickMs = 10
  let tickedAt = performance.now()
  const timer = setInterval(() => {
    const until = performance.now()
    if (until - tickedAt > 3 * tickMs) pauses.push({ from: tickedAt, until })
    tickedAt = until
  }, tickMs)
  return () => clearInterval(timer)
}

/** The state of the process when all is over. */
export async function inspect(program: Running, before: Usage | undefined): Promise<Objection[]> {
  const found: Objection[] = []
  const object = (because: string, seen: object) => found.push({ promise: 'no leak', because, seen })
  const { body } = await ask(`${program.origin}/health`)
  if (!body.includes('"healthy"')) object('the last request was not answered healthy', { body })
  const unwanted = program.events().filter(({ event }) => /unhandled|uncaught|request_failed/.test(event))
  for (const event of unwanted) object('an error that nobody expected', event)
  if (program.output().includes(login.password)) object('the password stands in the log', {})
  const pid = program.child.pid ?? 0
  // A connection that a client has closed is closed on the other side a moment later.
  for (let turn = 0; turn < 100 && (usageOf(pid)?.descriptors ?? 0) > (before?.descriptors ?? 0); turn += 1)
    await sleep(50)
  const after = usageOf(pid)
  if (before && after && after.descriptors > before.descriptors) object('descriptors', { before, after })
  return found
}

export function usageOf(pid: number): Usage | undefined {
  try {
    const kb = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return {
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      memoryMb: Math.round(Number(kb) / 1024),
    }
  } catch {
    return undefined
  }
}
