// Poolers in front of PostgreSQL: many probes through one connection, and all the ways in which a pooler refuses a client.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import pg from 'pg'
import { administer } from '../support/administer.ts'
import { createRoot, missingOpenssl, sign } from '../support/certificates.ts'
import { type Judged, type Said, startJudged } from '../support/judge.ts'
import { freePort } from '../support/network.ts'
import { fatal, honest, openPeer, type Peer } from '../support/peer.ts'
import { accountToRunAs, openPostgres, type Postgres } from '../support/postgres.ts'
import type { Answer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

/** What of PgBouncer's configuration a fault changes. */
interface Changes {
  /** Lines of the section [databases]; the one of `ledger` unless given. */
  readonly databases?: string
  /** Users and their passwords. */
  readonly users?: Readonly<Record<string, string>>
  /** More lines of the section [pgbouncer]. */
  readonly settings?: string
}

/** Runs PgBouncer in front of `postgres`, with one connection to it. */
function createPooler(program: string, postgres: Postgres, port: number) {
  const file = join(postgres.folder, 'pgbouncer.ini')
  const ledger = `ledger = host=127.0.0.1 port=${postgres.port} dbname=postgres user=postgres`
  let child: ChildProcess | undefined
  return {
    url: `postgres://watcher:geheim@127.0.0.1:${port}/ledger`,
    consoleUrl: `postgres://watcher:geheim@127.0.0.1:${port}/pgbouncer`,
    start,
    stop,
    restart,
  }

  function write(name: string, text: string) {
    const path = join(postgres.folder, name)
    writeFileSync(path, text)
    // PgBouncer refuses to run as root, as PostgreSQL does.
    const account = accountToRunAs()
    if (account) chownSync(path, account.uid, account.gid)
  }

  async function start({ databases = ledger, users, settings = '' }: Changes = {}) {
    const passwords = Object.entries(users ?? { watcher: 'geheim' })
    write('users.txt', passwords.map(([name, password]) => `"${name}" "${password}"\n`).join(''))
    write(
      'pgbouncer.ini',
      `[databases]
${databases}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${join(postgres.folder, 'users.txt')}
admin_users = watcher
pool_mode = transaction
default_pool_size = 1
query_wait_timeout = 0.3
server_login_retry = 0.1
max_client_conn = 3
${settings}
`,
    )
    child = spawn(program, [file], { ...accountToRunAs(), stdio: ['ignore', 'ignore', 'pipe'] })
    let log = ''
    child.stderr?.setEncoding('utf8')
    for await (const chunk of child.stderr?.iterator({ destroyOnReturn: false }) ?? []) {
      log += chunk
      if (log.includes('process up')) break
    }
    assert.match(log, /process up/)
    child.stderr?.resume()
  }

  async function stop() {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  async function restart(changes?: Changes) {
    await stop()
    await start(changes)
  }
}

describe('PgBouncer in transaction mode', () => {
  let postgres: Postgres
  let pooler: ReturnType<typeof createPooler>
  let judged: Judged
  after(async () => {
    await judged?.close()
    await pooler?.stop()
    await postgres?.close()
  })

  /** Starts what all tests share. False, and the test is skipped, where there is no PgBouncer. */
  async function isHere(t: TestContext): Promise<boolean> {
    const program = findTool(t, 'pgbouncer')
    if (program === undefined) return false
    if (judged) return true
    postgres = await openPostgres()
    pooler = createPooler(program, postgres, await freePort())
    await pooler.start()
    judged = await startJudged({ DATABASE_URL: `${pooler.url}?sslmode=disable` })
    return true
  }

  test('many probes through its one connection: healthy, and no prepared statement is left', async t => {
    if (!(await isHere(t))) return
    await judged.judge({
      says: 'healthy',
      begin() {},
      async during({ ask }) {
        const answers: Answer[] = []
        for (let round = 0; round < 20; round += 1) {
          answers.push(...(await Promise.all(Array.from({ length: 10 }, ask))))
        }
        return answers
      },
      end() {},
    })
    const [row] = await administer(pooler.url, 'select count(*)::int as count from pg_prepared_statements')
    assert.equal(row?.['count'], 0)
  })

  test('the PostgreSQL behind it is down: unreachable, connection_lost, or pool_exhausted', async t => {
    if (!(await isHere(t))) return
    await judged.judge({
      // It loses its connection, then waits for its PostgreSQL, and says that it waited or that it failed to log in.
      says: ['unreachable', 'connection_lost', 'pool_exhausted'],
      begin: () => postgres.stop(),
      async end() {
        await postgres.start()
        // PgBouncer tries again at its own pace: the fault ends when any client is served.
        for (let served = false; !served; ) {
          served = await administer(pooler.url, 'select 1').then(
            () => true,
            () => false,
          )
        }
      },
    })
  })

  test('another client holds its one connection: pool_exhausted', async t => {
    if (!(await isHere(t))) return
    const worker = new pg.Client(pooler.url)
    await judged.judge({
      says: 'pool_exhausted',
      async begin() {
        await worker.connect()
        await worker.query('begin')
      },
      end: () => worker.end(),
    })
  })

  test('it accepts no more clients: pool_exhausted', async t => {
    if (!(await isHere(t))) return
    const crowd = Array.from({ length: 3 }, () => new pg.Client(pooler.url))
    await judged.judge({
      says: 'pool_exhausted',
      async begin() {
        // After a restart the others connect first.
        await pooler.restart()
        for (const client of crowd) await client.connect()
      },
      end: () => Promise.all(crowd.map(client => client.end())),
    })
  })

  /** PostgreSQL's answer comes before PgBouncer gives up. */
  const patient = 'query_wait_timeout = 10'
  const refusals: [what: string, says: Said, changes: () => Changes][] = [
    ['it knows another password', 'auth_failed', () => ({ users: { watcher: 'other' } })],
    ['it does not know the user', 'auth_failed', () => ({ users: { other: 'geheim' } })],
    ['it does not know the database', 'no_database', () => ({ databases: 'other = host=127.0.0.1' })],
    [
      'it forwards that PostgreSQL does not know the database',
      'no_database',
      () => ({
        databases: `ledger = host=127.0.0.1 port=${postgres.port} dbname=gone user=postgres`,
        settings: patient,
      }),
    ],
    [
      'it forwards that PostgreSQL does not know the role',
      'auth_failed',
      () => ({
        databases: `ledger = host=127.0.0.1 port=${postgres.port} dbname=postgres user=gone`,
        settings: patient,
      }),
    ],
  ]
  for (const [what, says, changes] of refusals) {
    test(`${what}: ${says}`, async t => {
      if (!(await isHere(t))) return
      await judged.judge({ says, begin: () => pooler.restart(changes()), end: () => pooler.restart() })
    })
  }

  test('the database is disabled: no_database', async t => {
    if (!(await isHere(t))) return
    await judged.judge({
      says: 'no_database',
      async begin() {
        await pooler.restart()
        await runOnConsole('disable ledger')
      },
      end: () => runOnConsole('enable ledger'),
    })
  })

  test('it requires TLS: tls', { skip: missingOpenssl() }, async t => {
    if (!(await isHere(t))) return
    const { certificate, key } = sign(createRoot(), 'DNS:localhost')
    for (const [name, text] of [
      ['pooler.crt', certificate],
      ['pooler.key', key],
    ] as const) {
      writeFileSync(join(postgres.folder, name), text, { mode: 0o644 })
    }
    const settings = `client_tls_sslmode = require
client_tls_cert_file = ${join(postgres.folder, 'pooler.crt')}
client_tls_key_file = ${join(postgres.folder, 'pooler.key')}`
    await judged.judge({
      says: 'tls',
      begin: () => pooler.restart({ settings }),
      end: () => pooler.restart(),
    })
  })

  /** PgBouncer's console has only simple queries, and no types. */
  async function runOnConsole(command: string) {
    await administer(pooler.consoleUrl, command)
  }

  test('it does not run: unreachable', async t => {
    if (!(await isHere(t))) return
    await judged.judge({ says: 'unreachable', begin: pooler.stop, end: pooler.start })
  })
})

/** What cannot run here is played by a peer, with the bytes that its source sends. */
const answers: [product: string, what: string, says: Said, answer: Buffer][] = [
  [
    'Supavisor',
    'has too many clients',
    'pool_exhausted',
    fatal('XX000', '(EMAXCONN) max client connections reached, limit: 200'),
  ],
  ['Supavisor', 'does not know the tenant', 'auth_failed', fatal('XX000', 'Tenant or user not found')],
  [
    'Neon',
    'has no quota left',
    'unreachable',
    fatal(
      'XX000',
      'Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.',
    ),
  ],
  [
    'Neon',
    'has the endpoint disabled',
    'no_database',
    fatal('XX000', 'Control plane request failed: endpoint is disabled'),
  ],
  [
    'pgpool-II',
    'has no backend',
    'unreachable',
    fatal('XX000', 'all backend nodes are down, pgpool requires at least one valid node'),
  ],
  [
    'PgBouncer 1.24',
    'has too many clients of the user',
    'pool_exhausted',
    fatal('08P01', 'client connections exceeded (max_user_client_connections)'),
  ],
  ['RDS Proxy', 'requires TLS', 'tls', fatal('28000', 'This RDS Proxy requires TLS connections.')],
]

describe('poolers that a peer plays', () => {
  let peer: Peer
  let judged: Judged
  before(async () => {
    peer = await openPeer(honest)
    const url = `postgres://watcher:geheim@127.0.0.1:${peer.port}/ledger?sslmode=disable`
    judged = await startJudged({ DATABASE_URL: url })
  })
  after(async () => {
    await judged?.close()
    await peer?.close()
  })

  for (const [product, what, says, startup] of answers) {
    test(`${product} ${what}: ${says}`, () =>
      judged.judge({
        says,
        begin: () => peer.play({ ...honest, startup }),
        end: () => peer.play(honest),
      }))
  }
})
