// PostgreSQL refuses the program: the reason is reported, and the first request after it is put right is healthy.
//
// Reasons that differ only in PostgreSQL's error code are a table in tests/program/database.test.ts.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { administer, logged, terminate } from '../support/administer.ts'
import { type Judged, type Said, startJudged } from '../support/judge.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'

const hba = (rule: string) => `local all all trust
host all postgres all trust
host all watcher all ${rule}
`

describe('PostgreSQL refuses', () => {
  let postgres: Postgres
  let judged: Judged
  let urlFile: string
  let url: string

  before(async () => {
    postgres = await openPostgres({
      settings: { max_connections: '8', log_disconnections: 'on' },
      files: { 'pg_hba.conf': hba('scram-sha-256') },
    })
    await administer(postgres.url, "create role watcher login password 'geheim'", 'create database ledger')
    urlFile = join(postgres.folder, 'url')
    url = `postgres://watcher:geheim@127.0.0.1:${postgres.port}/ledger`
    writeFileSync(urlFile, url)
    judged = await startJudged(
      { DATABASE_URL_FILE: urlFile },
      { secrets: ['geheim', 'watcher', '127.0.0.1', 'ledger'] },
    )
  })
  after(async () => {
    await judged?.close()
    await postgres?.close()
  })

  /** What an operator may change, and how it is undone. It ends no session that is open. */
  const orders: [what: string, says: Said, order: string, undo: string][] = [
    [
      'another password',
      'auth_failed',
      "alter role watcher password 'changed'",
      "alter role watcher password 'geheim'",
    ],
    [
      'a role that only reads',
      'healthy',
      'alter role watcher set default_transaction_read_only = on',
      'alter role watcher reset all',
    ],
  ]
  for (const [what, says, order, undo] of orders) {
    test(`${what}: ${says}`, () =>
      judged.judge({
        says,
        async begin() {
          await terminate(postgres.url)
          await administer(postgres.url, order)
        },
        end: () => administer(postgres.url, undo),
      }))
  }

  test('a reject in pg_hba.conf: auth_failed', () =>
    judged.judge({
      says: 'auth_failed',
      async begin() {
        await postgres.configure({ files: { 'pg_hba.conf': hba('reject') } })
        await terminate(postgres.url)
      },
      end: () => postgres.configure({ files: { 'pg_hba.conf': hba('scram-sha-256') } }),
    }))

  test('an invalid URL in DATABASE_URL_FILE, which is read for each session: unknown', () =>
    judged.judge({
      says: 'unknown',
      async begin() {
        writeFileSync(urlFile, 'postgres://watcher:ge/heim@x')
        await terminate(postgres.url)
      },
      end: () => writeFileSync(urlFile, url),
    }))

  test('a full server: pool_exhausted', async () => {
    const crowd: pg.Client[] = []
    await judged.judge({
      says: 'pool_exhausted',
      async begin() {
        await terminate(postgres.url)
        for (let room = true; room; ) {
          const client = new pg.Client(postgres.url)
          room = await client.connect().then(
            () => true,
            () => false,
          )
          if (room) crowd.push(client)
        }
      },
      async end() {
        const from = postgres.log().length
        // Some connections are reserved for superusers such as these, so all must end. Their processes end a little later.
        await Promise.all(crowd.map(client => client.end()))
        await logged(postgres, 'disconnection', from, crowd.length)
      },
    })
  })

  /** Starts the stopped server as a standby without a primary; `started` resolves when it has been promoted. */
  async function startStandby(settings: Record<string, string>, phrase: string) {
    await postgres.configure({ settings, files: { 'standby.signal': '' } })
    const from = postgres.log().length
    const started = postgres.start()
    started.catch(() => {})
    await logged(postgres, phrase, from)
    return { started }
  }

  async function promote({ started }: { started: Promise<void> }) {
    await administer(postgres.url, 'select pg_promote()')
    await started
  }

  test('a standby, which takes no writes: healthy', async () => {
    let standby = { started: Promise.resolve() }
    await judged.judge({
      says: 'healthy',
      async begin() {
        await postgres.stop()
        standby = await startStandby({}, 'ready to accept read-only connections')
      },
      end: () => promote(standby),
    })
  })

  test('a server that is starting up: starting_up', () =>
    judged.judge({
      says: 'starting_up',
      async begin() {
        await postgres.stop()
        await startStandby({ hot_standby: 'off' }, 'entering standby mode')
      },
      async end() {
        await postgres.stop()
        await promote(await startStandby({ hot_standby: 'on' }, 'ready to accept read-only connections'))
      },
    }))
})
