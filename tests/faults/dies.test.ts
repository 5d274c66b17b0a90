// PostgreSQL dies, in every manner it has: what callers are told meanwhile, and that the first one after it is told yes.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { administer, backendOf, logged } from '../support/administer.ts'
import { type Caller, type Judged, startJudged } from '../support/judge.ts'
import { fatal, honest, openPeer, row, welcome } from '../support/peer.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'

const ready = 'database system is ready to accept connections'
const nothing = () => {}

describe('PostgreSQL dies', () => {
  let postgres: Postgres
  let judged: Judged
  before(async () => {
    postgres = await openPostgres()
    judged = await startJudged({ DATABASE_URL: postgres.url.replace('@', ':geheim@') })
  })
  after(async () => {
    await judged?.close()
    await postgres?.close()
  })
  const start = () => postgres.start()

  /** Asks, and does `act` when the statement is with a backend that does not answer: it is stopped. */
  function midStatement(act: (backend: number) => unknown) {
    return async ({ ask, underWay }: Caller) => {
      const backend = await backendOf(postgres.url)
      process.kill(backend, 'SIGSTOP')
      const asked = ask()
      await underWay()
      await act(backend)
      return [await asked]
    }
  }

  test('kill -9 of all its processes: unreachable', () =>
    judged.judge({ says: 'unreachable', begin: () => postgres.kill(), end: start }))

  test('kill -9 of the postmaster alone: unreachable', () =>
    judged.judge({ says: 'unreachable', begin: () => postgres.kill('postmaster'), end: start }))

  test('kill -9 of all its processes while our statement runs: unreachable', () =>
    judged.judge({
      says: 'unreachable',
      begin: nothing,
      during: midStatement(() => postgres.kill()),
      end: start,
    }))

  // PostgreSQL ends all its sessions then, also the one that we have just opened, and takes none meanwhile.
  const afterCrash = ['starting_up', 'shutting_down', 'connection_lost', 'healthy'] as const
  test('kill -9 of our backend while it is idle: a reason that fits, or nobody notices', async () => {
    const from = postgres.log().length
    await judged.judge({
      says: afterCrash,
      begin: async () => process.kill(await backendOf(postgres.url), 'SIGKILL'),
      end: () => logged(postgres, ready, from),
    })
  })

  test('kill -9 of our backend while our statement runs: a reason that fits, or nobody notices', async () => {
    const from = postgres.log().length
    await judged.judge({
      says: afterCrash,
      begin: nothing,
      during: midStatement(backend => process.kill(backend, 'SIGKILL')),
      end: () => logged(postgres, ready, from),
    })
  })

  test('recovery after a crash that takes its time: starting_up', async () => {
    const go = join(postgres.folder, 'go')
    let started: Promise<void>
    await judged.judge({
      says: 'starting_up',
      async begin() {
        await postgres.kill()
        const from = postgres.log().length
        await postgres.configure({
          settings: { restore_command: `while ! test -e ${go}; do sleep 0.05; done; false` },
          files: { 'recovery.signal': '' },
        })
        started = postgres.start()
        await logged(postgres, 'database system was interrupted', from)
      },
      end() {
        writeFileSync(go, '')
        return started
      },
    })
  })

  for (const mode of ['fast', 'immediate'] as const) {
    test(`a stop, ${mode}: unreachable`, () =>
      judged.judge({ says: 'unreachable', begin: () => postgres.stop(mode), end: start }))
  }

  // Whom the kernel has accepted and PostgreSQL not yet, gets no word from it: ECONNRESET, measured.
  test('a stop, fast, while our statement runs: shutting_down, unreachable or connection_lost, or it was answered before', () =>
    judged.judge({
      says: ['shutting_down', 'unreachable', 'connection_lost', 'healthy'],
      begin: nothing,
      during: midStatement(async backend => {
        const stopped = postgres.stop('fast')
        process.kill(backend, 'SIGCONT')
        await stopped
      }),
      end: start,
    }))

  test('a stop, smart, that waits for somebody else: shutting_down', async () => {
    const worker = new pg.Client(postgres.url)
    let stopped: Promise<void>
    await judged.judge({
      says: 'shutting_down',
      async begin() {
        await worker.connect()
        const from = postgres.log().length
        stopped = postgres.stop('smart')
        await logged(postgres, 'received smart shutdown request', from)
        // Ours would keep it waiting, too.
        await worker.query(
          "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'pg-health'",
        )
      },
      async end() {
        await worker.end()
        await stopped
        await postgres.start()
      },
    })
  })

  test('a restart between two probes: nobody notices', () =>
    judged.judge({
      says: 'healthy',
      async begin() {
        await postgres.stop()
        await postgres.start()
      },
      end: nothing,
    }))

  test('57P01 while a check is in flight: nobody notices, a fresh session answers', () =>
    judged.judge({
      says: 'healthy',
      begin: nothing,
      during: midStatement(async backend => {
        await administer(postgres.url, `select pg_terminate_backend(${backend})`)
        process.kill(backend, 'SIGCONT')
      }),
      end: nothing,
    }))
})

test('57P01 at every statement: shutting_down', async t => {
  const peer = await openPeer(honest)
  t.after(() => peer.close())
  const judged = await startJudged({
    DATABASE_URL: `postgres://watcher:geheim@127.0.0.1:${peer.port}/ledger?sslmode=disable`,
  })
  t.after(() => judged.close())
  const evicting = (index: number) => (index === 0 ? row('1') : fatal('57P01', 'terminating connection'))
  await judged.judge({
    says: 'shutting_down',
    begin: () => peer.play({ startup: welcome, statement: evicting }),
    end: () => peer.play(honest),
  })
})
