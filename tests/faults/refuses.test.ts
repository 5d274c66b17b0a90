// PostgreSQL refuses: each reason by its name, and the first request after it is set right is a yes.
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
  const url = (login = 'watcher:geheim') => `postgres://${login}@127.0.0.1:${postgres.port}/ledger`

  before(async () => {
    postgres = await openPostgres({
      settings: { max_connections: '8', log_disconnections: 'on' },
      files: { 'pg_hba.conf': hba('scram-sha-256') },
    })
    await administer(postgres.url, "create role watcher login password 'geheim'", 'create database ledger')
    urlFile = join(postgres.folder, 'url')
    writeFileSync(urlFile, url())
    judged = await startJudged(
      { DATABASE_URL_FILE: urlFile },
      { secrets: ['geheim', 'watcher', '127.0.0.1', 'ledger'] },
    )
  })
  after(async () => {
    await judged?.close()
    await postgres?.close()
  })

  /** What an operator may do to us, and how it is undone. Sessions that stand are not asked to leave by it. */
  const orders: [what: string, says: Said, order: string, undo: string][] = [
    [
      'another password',
      'auth_failed',
      "alter role watcher password 'changed'",
      "alter role watcher password 'geheim'",
    ],
    [
      'a password that has run out',
      'auth_failed',
      "alter role watcher valid until '2020-01-01'",
      "alter role watcher valid until 'infinity'",
    ],
    [
      'no password',
      'auth_failed',
      'alter role watcher password null',
      "alter role watcher password 'geheim'",
    ],
    [
      'a role that is gone',
      'auth_failed',
      'alter role watcher rename to nobody_knows',
      'alter role nobody_knows rename to watcher',
    ],
    ['a role that may not log in', 'auth_failed', 'alter role watcher nologin', 'alter role watcher login'],
    [
      'no privilege to connect',
      'auth_failed',
      'revoke connect on database ledger from public',
      'grant connect on database ledger to public',
    ],
    [
      'a database that is gone',
      'no_database',
      'alter database ledger rename to archive',
      'alter database archive rename to ledger',
    ],
    [
      'a database that takes no sessions',
      'no_database',
      'alter database ledger allow_connections false',
      'alter database ledger allow_connections true',
    ],
    [
      'a role that has all its connections',
      'pool_exhausted',
      'alter role watcher connection limit 0',
      'alter role watcher connection limit -1',
    ],
    [
      'a database that has all its connections',
      'pool_exhausted',
      'alter database ledger connection limit 0',
      'alter database ledger connection limit -1',
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

  test('pg_hba.conf: auth_failed', () =>
    judged.judge({
      says: 'auth_failed',
      async begin() {
        await postgres.configure({ files: { 'pg_hba.conf': hba('reject') } })
        await terminate(postgres.url)
      },
      end: () => postgres.configure({ files: { 'pg_hba.conf': hba('scram-sha-256') } }),
    }))

  // The file with the URL is read again for each session.
  const files: [what: string, says: Said, text: () => string][] = [
    ['us, who have a wrong password', 'auth_failed', () => url('watcher:geheimer')],
    ['us, who have no password', 'auth_failed', () => url('watcher')],
    ['nobody: our file with the URL is spoilt', 'unknown', () => 'postgres://watcher:ge/heim@x'],
    ['nobody: our file with the URL is empty', 'unknown', () => ''],
  ]
  for (const [what, says, text] of files) {
    test(`${what}: ${says}`, () =>
      judged.judge({
        says,
        async begin() {
          writeFileSync(urlFile, text())
          await terminate(postgres.url)
        },
        end: () => writeFileSync(urlFile, url()),
      }))
  }

  test('a server that is full: pool_exhausted', async () => {
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
        // Some places are kept for superusers such as these: all must go. Their processes do so a little later.
        await Promise.all(crowd.map(client => client.end()))
        await logged(postgres, 'disconnection', from, crowd.length)
      },
    })
  })

  /** Starts the stopped server as a standby of nobody; `started` resolves when it is no longer one. */
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

  test('a write, being a standby: healthy', async () => {
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

  test('everybody, as it is starting up: starting_up', () =>
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
