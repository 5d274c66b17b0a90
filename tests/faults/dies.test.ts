// PostgreSQL dies in every way that it can: what clients read, and that the first request after it is healthy.
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

  /** Sends a request, and calls `act` when its query has reached a backend that is stopped. */
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

  // A connection that the kernel has accepted and PostgreSQL has not gets ECONNRESET (measured).
  test('kill -9 of all its processes during a query: unreachable, or connection_lost', () =>
    judged.judge({
      says: ['unreachable', 'connection_lost'],
      begin: nothing,
      during: midStatement(() => postgres.kill()),
      end: start,
    }))

  // PostgreSQL then ends all sessions, a new one of ours included, and accepts none until it has recovered.
  const afterCrash = ['starting_up', 'shutting_down', 'connection_lost', 'healthy'] as const
  test('kill -9 of our backend while it is idle: a matching reason, or healthy', async () => {
    const from = postgres.log().length
    await judged.judge({
      says: afterCrash,
      begin: async () => process.kill(await backendOf(postgres.url), 'SIGKILL'),
      end: () => logged(postgres, ready, from),
    })
  })

  test('kill -9 of our backend during a query: a matching reason, or healthy', async () => {
    const from = postgres.log().length
    await judged.judge({
      says: afterCrash,
      begin: nothing,
      during: midStatement(backend => process.kill(backend, 'SIGKILL')),
      end: () => logged(postgres, ready, from),
    })
  })

  test('a slow recovery after a crash: starting_up', async () => {
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
    test(`a stop in mode ${mode}: unreachable`, () =>
      judged.judge({ says: 'unreachable', begin: () => postgres.stop(mode), end: start }))
  }

  // Here as well, the kernel may have accepted a connection.
  test('a stop in mode fast during a query: a matching reason, or healthy', () =>
    judged.judge({
      says: ['shutting_down', 'unreachable', 'connection_lost', 'healthy'],
      begin: nothing,
      // It continues the backend itself.
      during: midStatement(() => postgres.stop('fast')),
      end: start,
    }))

  test('a stop in mode smart that waits for another client: shutting_down', async () => {
    const worker = new pg.Client(postgres.url)
    let stopped: Promise<void>
    await judged.judge({
      says: 'shutting_down',
      async begin() {
        await worker.connect()
        const from = postgres.log().length
        stopped = postgres.stop('smart')
        await logged(postgres, 'received smart shutdown request', from)
        // Our session would keep it waiting as well.
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

  test('a restart between two requests: healthy', () =>
    judged.judge({
      says: 'healthy',
      async begin() {
        await postgres.stop()
        await postgres.start()
      },
      end: nothing,
    }))

  test('57P01 during a query: healthy, on a new session', () =>
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

test('57P01 for every query: shutting_down', async t => {
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
