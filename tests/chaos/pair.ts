// A primary and a standby that suffer, with promotions among the faults, and the program with both as its hosts.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Reason } from '../../lib/health/verdict.ts'
import { roleQuery } from '../../lib/postgres/role.ts'
import { follow, openPair, promote } from '../support/pair.ts'
import type { Postgres } from '../support/postgres.ts'
import { checkQuery, openProxy } from '../support/proxy.ts'
import { createRandom } from '../support/random.ts'
import { type Running, startServer } from '../support/server.ts'
import {
  type Campaign,
  type CampaignOptions,
  connectTimeoutMs,
  inspect,
  settings,
  timeoutMs,
  usageOf,
  watchOurselves,
} from './campaign.ts'
import { router, startCrowd } from './crowd.ts'
import type { Fault, Interval, SeenConnection, SeenStatement } from './judge.ts'

/** One of the two, with the proxy in front of it. */
interface Server {
  readonly postgres: Postgres
  readonly proxy: Awaited<ReturnType<typeof openProxy>>
}

/** Which of them is which changes with each promotion. */
interface Stage {
  primary: Server
  standby: Server
  /** When no server took writes, or the one that did could not be reached. */
  readonly unfit: Interval[]
}

interface PairFault {
  readonly name: string
  readonly explains: readonly Reason[]
  /** From its beginning until all is well again. `holdMs` is how long it stays bad. */
  readonly suffer: (stage: Stage, holdMs: number) => Promise<void>
}

const expiries = ['timeout', 'connect_timeout'] as const
const restarts = ['connection_lost', 'starting_up', 'shutting_down'] as const

const faults: readonly PairFault[] = [
  {
    name: 'the primary stopped, the standby promoted',
    explains: [...restarts, 'standby'],
    suffer: (stage, holdMs) => failOver(stage, ({ postgres }) => postgres.stop(), holdMs),
  },
  {
    name: 'the primary killed, the standby promoted',
    explains: [...restarts, 'standby'],
    suffer: (stage, holdMs) => failOver(stage, ({ postgres }) => postgres.kill(), holdMs),
  },
  {
    name: 'the primary frozen, the standby promoted',
    explains: [...restarts, ...expiries, 'standby'],
    suffer: (stage, holdMs) => failOver(stage, async ({ postgres }) => postgres.freeze(), holdMs),
  },
  {
    name: 'the primary fenced',
    explains: ['read_only', 'standby'],
    async suffer({ primary, unfit }, holdMs) {
      await primary.postgres.configure({ settings: { default_transaction_read_only: 'on' } })
      const from = performance.now()
      await sleep(holdMs)
      unfit.push({ from, until: performance.now() })
      await primary.postgres.configure({ settings: { default_transaction_read_only: 'off' } })
    },
  },
  {
    name: 'the network to the primary stalled',
    explains: [...expiries, 'standby'],
    async suffer({ primary }, holdMs) {
      primary.proxy.stall()
      await sleep(holdMs)
      primary.proxy.flow()
    },
  },
  {
    name: 'connections to the primary reset',
    explains: ['connection_lost', 'standby'],
    async suffer({ primary }) {
      primary.proxy.reset()
    },
  },
  {
    name: 'the standby frozen',
    explains: [],
    async suffer({ standby }, holdMs) {
      standby.postgres.freeze()
      await sleep(holdMs)
      standby.postgres.thaw()
    },
  },
  {
    name: 'the standby restarted',
    explains: [],
    async suffer({ standby }) {
      await standby.postgres.stop()
      await standby.postgres.start()
    },
  },
]

/** The primary is lost in some way; after a while the standby takes its place. */
async function failOver(stage: Stage, lose: (server: Server) => Promise<void>, holdMs: number) {
  const { primary, standby, unfit } = stage
  await lose(primary)
  const from = performance.now()
  await sleep(holdMs)
  unfit.push({ from, until: performance.now() })
  await promote(standby.postgres)
  stage.primary = standby
  stage.standby = primary
}

/** The lost primary becomes the standby. Both are stopped meanwhile. */
async function rebuild({ primary, standby }: Stage) {
  await standby.postgres.kill()
  await follow(standby.postgres, primary.postgres)
}

/** Runs one campaign with a pair. Whatever it starts has ended when it resolves or rejects. */
export async function runPairCampaign(options: CampaignOptions): Promise<Campaign> {
  const endings: (() => unknown)[] = []
  try {
    const pair = await openPair()
    endings.push(() => pair.close())
    const servers: Server[] = []
    for (const postgres of [pair.primary, pair.standby]) {
      const proxy = await openProxy(postgres.port)
      endings.push(() => proxy.close())
      servers.push({ postgres, proxy })
    }
    const [primary, standby] = servers as [Server, Server]
    const places = servers.map(({ proxy }) => `127.0.0.1:${proxy.port}`).join()
    const url = `postgres://postgres@${places}/postgres?sslmode=disable&target_session_attrs=read-write`
    const program = await startServer({ DATABASE_URL: url, ...settings })
    endings.push(() => program.stop('SIGKILL'))
    await program.event('healthy')
    return await record({ primary, standby, unfit: [] }, servers, program, options, end => endings.push(end))
  } finally {
    for (const end of endings.reverse()) await end()
  }
}

async function record(
  stage: Stage,
  servers: readonly Server[],
  program: Running,
  { minutes, seed, tell, signal }: CampaignOptions,
  later: (end: () => unknown) => void,
): Promise<Campaign> {
  const pid = program.child.pid ?? 0
  const pauses: Interval[] = []
  const seen: Fault[] = []
  const before = usageOf(pid)
  const stopWatching = watchOurselves(pauses)
  later(stopWatching)
  const crowd = startCrowd(program.origin, [router])
  later(crowd.stop)
  const beganAt = performance.now()
  const random = createRandom(seed).fraction
  while (performance.now() - beganAt < minutes * 60_000) {
    const fault = faults[Math.floor(random() * faults.length)] as PairFault
    await quiet()
    await suffer(fault, 50 + 1_450 * random() ** 2)
    if (fault.name.endsWith('promoted')) {
      // Who asks now finds the new primary, although the old one is down, or frozen.
      await quiet()
      await suffer(
        { name: 'the lost one built again', explains: [...restarts, 'standby'], suffer: rebuild },
        0,
      )
    }
  }
  await sleep(connectTimeoutMs, undefined, { signal })
  await crowd.stop()
  stopWatching()
  const objections = await inspect(program, before)
  const { exchanges, abandoned } = crowd
  const recording = {
    exchanges,
    ...mergedOf(servers),
    faults: seen,
    pauses,
    timeoutMs,
    connectTimeoutMs,
    unfit: stage.unfit,
    hosts: servers.length,
    queries: [checkQuery, String(roleQuery)],
    needs: { healthy: 'primary', standby: 'standby', read_only: 'read_only' },
  }
  const usage = before && { before, after: usageOf(pid) ?? before }
  return { recording, abandoned, usage, objections }

  async function quiet() {
    report([])
    await sleep(100 + 400 * random(), undefined, { signal })
  }

  async function suffer({ name, explains, suffer: run }: PairFault, holdMs: number) {
    report([name])
    const from = performance.now()
    await run(stage, holdMs)
    seen.push({ name, explains, from, until: performance.now() })
  }

  function report(names: readonly string[]) {
    const elapsedMs = performance.now() - beganAt
    tell({ elapsedMs, faults: seen.length, names, answers: crowd.exchanges.length })
  }
}

/** What crossed all proxies, as if it had been one: connections in the order in which they were opened. */
function mergedOf(servers: readonly Server[]) {
  const all = servers.flatMap(({ proxy }) =>
    proxy.connections.map((openedAt, index) => ({
      connection: { openedAt, closedAt: proxy.closures[index] },
      statements: proxy.statements.filter(({ connection }) => connection === index),
    })),
  )
  all.sort((one, other) => one.connection.openedAt - other.connection.openedAt)
  const connections: SeenConnection[] = all.map(({ connection }) => connection)
  const statements: SeenStatement[] = all.flatMap(({ statements: own }, connection) =>
    own.map(statement => ({ ...statement, connection })),
  )
  return { connections, statements }
}
