// The faults of the chaos run as data: what each does, how it is undone, and what clients may read while it lasts.
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Reason } from '../../lib/health/verdict.ts'
import type { Postgres } from '../support/postgres.ts'
import type { openProxy } from '../support/proxy.ts'

/** What a fault can break. */
export interface Stage {
  readonly postgres: Postgres
  readonly proxy: Awaited<ReturnType<typeof openProxy>>
  /** The process of the program. */
  readonly pid: number
}

export interface Fault {
  readonly name: string
  /** Two faults happen at the same time only when one is the database's and one the network's. */
  readonly layer: 'database' | 'network' | 'machine'
  /** What clients may read besides `healthy`; nothing when they must not notice. */
  readonly explains: readonly Reason[]
  /** It takes this long until it shows (milliseconds). */
  readonly leastHoldMs?: number
  /** Causes it; `amount`, from 0 to 1, says how bad. Resolves with the function that undoes it. */
  readonly inflict: (stage: Stage, amount: number) => Promise<() => unknown>
}

/** The program's role, which has a password, and its database. */
export const login = { user: 'probe', password: 's@cret/1', database: 'watched' } as const

/** For openPostgres: operators need no password, the program does. */
export const configuration = {
  // What an operator has undone must stay undone after a crash, though not after a power cut.
  settings: { synchronous_commit: 'on' },
  files: {
    'pg_hba.conf': `host all ${login.user} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n`,
  },
}

/** Makes the role and the database. */
export async function prepare(postgres: Postgres) {
  await administer(
    postgres,
    `create role ${login.user} login password '${login.password}'`,
    `create database ${login.database}`,
  )
}

const expiries = ['timeout', 'connect_timeout'] as const
const broken = ['connection_lost'] as const
const restarts = ['connection_lost', 'starting_up', 'shutting_down'] as const
/** Our session is terminated so that the change is noticed immediately; that may hit a check. */
const sentAway = ['connection_lost', 'shutting_down'] as const
const nothing = () => {}

const sendAway = `select pg_terminate_backend(pid, 1000) from pg_stat_activity where usename = '${login.user}'`

export const faults: readonly Fault[] = [
  {
    name: 'all of PostgreSQL frozen',
    layer: 'database',
    explains: expiries,
    async inflict({ postgres }) {
      postgres.freeze()
      return () => postgres.thaw()
    },
  },
  {
    name: 'our backend frozen',
    layer: 'database',
    explains: [],
    async inflict({ postgres }) {
      const pids = await backends(postgres)
      for (const pid of pids) signal(pid, 'SIGSTOP')
      return () => {
        for (const pid of pids) signal(pid, 'SIGCONT')
      }
    },
  },
  {
    name: 'kill -9 of PostgreSQL',
    layer: 'database',
    explains: restarts,
    async inflict({ postgres }) {
      await postgres.kill()
      return () => postgres.start()
    },
  },
  {
    name: 'kill -9 of our backend',
    layer: 'database',
    explains: restarts,
    async inflict({ postgres }) {
      const from = postgres.log().length
      const [pid] = await backends(postgres)
      if (pid === undefined || !signal(pid, 'SIGKILL')) return nothing
      // The server drops everybody and recovers; not for one that was just ending by itself, so this ends, too.
      return async () => {
        const recovered = () => postgres.log().includes('ready to accept connections', from)
        for (let turn = 0; turn < 500 && !recovered(); turn += 1) await sleep(10)
      }
    },
  },
  ...(['smart', 'fast', 'immediate'] as const).map(
    (mode): Fault => ({
      name: `${mode} stop of PostgreSQL`,
      layer: 'database',
      explains: restarts,
      async inflict({ postgres }) {
        // A smart stop waits for clients to leave. One that never does must not hold up the run.
        const impatience = setTimeout(() => postgres.stop('fast'), 5_000)
        await postgres.stop(mode)
        clearTimeout(impatience)
        return () => postgres.start()
      },
    }),
  ),
  {
    name: 'our backend terminated',
    layer: 'database',
    explains: sentAway,
    async inflict({ postgres }) {
      await administer(postgres, sendAway)
      return nothing
    },
  },
  bySql('the password changed', 'auth_failed', {
    change: `alter role ${login.user} password 'another'`,
    undo: `alter role ${login.user} password '${login.password}'`,
  }),
  bySql('the role may not log in', 'auth_failed', {
    change: `alter role ${login.user} nologin`,
    undo: `alter role ${login.user} login`,
  }),
  bySql('the role has no privilege to connect', 'auth_failed', {
    change: `revoke connect on database ${login.database} from public`,
    undo: `grant connect on database ${login.database} to public`,
  }),
  bySql('the role has its connections used up', 'pool_exhausted', {
    change: `alter role ${login.user} connection limit 0`,
    undo: `alter role ${login.user} connection limit -1`,
  }),
  bySql('the database takes no connections', 'no_database', {
    change: `alter database ${login.database} allow_connections false`,
    undo: `alter database ${login.database} allow_connections true`,
  }),
  bySql('the database dropped', 'no_database', {
    change: `drop database ${login.database} with (force)`,
    undo: `create database ${login.database}`,
  }),
  {
    name: 'the network stalled',
    layer: 'network',
    explains: expiries,
    async inflict({ proxy }) {
      proxy.stall()
      return () => proxy.flow()
    },
  },
  {
    name: 'the connection forgotten by the network',
    layer: 'network',
    explains: [],
    async inflict({ proxy }) {
      proxy.stallOpen()
      return nothing
    },
  },
  {
    name: 'connections reset',
    layer: 'network',
    explains: broken,
    async inflict({ proxy }) {
      proxy.reset()
      return nothing
    },
  },
  byTreatment('connections refused', 'refuse', ['connection_lost', 'unreachable']),
  byTreatment('connections accepted and closed', 'hang_up', broken),
  byTreatment('connections swallowed', 'swallow', ['connection_lost', 'connect_timeout']),
  byDelay('the network a little slow', { leastMs: 5, mostMs: 25 }, []),
  byDelay('the network too slow', { leastMs: 300, mostMs: 700 }, expiries),
  {
    name: 'connecting slower than the deadline',
    layer: 'network',
    explains: [...expiries, ...broken],
    leastHoldMs: 1_500,
    async inflict({ proxy }, amount) {
      // It takes five answers until the warm-up is through: the deadline comes while that is under way.
      proxy.delay(202 + amount * 10)
      proxy.reset()
      return () => proxy.delay(0)
    },
  },
  {
    name: 'the program paused',
    layer: 'machine',
    explains: expiries,
    async inflict({ pid }) {
      signal(pid, 'SIGSTOP')
      return () => signal(pid, 'SIGCONT')
    },
  },
]

function bySql(name: string, reason: Reason, { change, undo }: { change: string; undo: string }): Fault {
  return {
    name,
    layer: 'database',
    explains: [reason, ...sentAway],
    async inflict({ postgres }) {
      await administer(postgres, change, sendAway)
      return () => administer(postgres, undo)
    },
  }
}

function byTreatment(
  name: string,
  how: 'refuse' | 'hang_up' | 'swallow',
  explains: readonly Reason[],
): Fault {
  return {
    name,
    layer: 'network',
    explains,
    async inflict({ proxy }) {
      await proxy.treat(how)
      proxy.reset()
      return () => proxy.treat('pass')
    },
  }
}

function byDelay(
  name: string,
  { leastMs, mostMs }: { leastMs: number; mostMs: number },
  explains: readonly Reason[],
): Fault {
  return {
    name,
    layer: 'network',
    explains,
    async inflict({ proxy }, amount) {
      proxy.delay(leastMs + amount * (mostMs - leastMs))
      return () => proxy.delay(0)
    },
  }
}

/** Runs statements as an operator would, directly on the server. */
async function administer(server: Postgres, ...statements: string[]) {
  const sql = postgres(server.url, { max: 1, onnotice() {} })
  try {
    for (const statement of statements) await sql.unsafe(statement)
  } finally {
    await sql.end()
  }
}

/** The backends that serve the program. */
async function backends(server: Postgres): Promise<number[]> {
  const sql = postgres(server.url, { max: 1, onnotice() {} })
  try {
    const rows = await sql<{ pid: number }[]>`select pid from pg_stat_activity where usename = ${login.user}`
    return rows.map(({ pid }) => pid)
  } finally {
    await sql.end()
  }
}

/** False when there is no such process any more. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}
