// What a check finds out about the role of a server and the lag of a standby, on a pair and behind PgBouncer.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import pg from 'pg'
import type { Question } from '../../lib/health/role.ts'
import { administer } from '../support/administer.ts'
import { type ConninfoChanges, conninfoOf, openDatabase } from '../support/database.ts'
import { follow, openPair, type Pair, promote, streaming } from '../support/pair.ts'
import { accountToRunAs, findPort, type Postgres } from '../support/postgres.ts'
import { findTool } from '../support/tools.ts'

const now = () => performance.now()
const megabyte = 1024 * 1024

let pair: Pair

before(async () => {
  pair = await openPair()
  await administer(
    pair.primary.url,
    'create table ledger (entry text)',
    'create role guest login',
    'create role auditor login',
    'grant pg_read_all_stats to auditor',
  )
})
after(() => pair.close())

/** A database on one server, and what one check says. */
function open(t: TestContext, { port }: Pick<Postgres, 'port'>, changes: ConninfoChanges = {}) {
  const database = openDatabase(t, conninfoOf(port, changes))
  return {
    database,
    ask: (question: Question = 'lag') => database.check(now() + 2_000, question),
  }
}

/** Writes so much WAL on the primary. */
function write(server: Postgres, bytes: number) {
  return administer(
    server.url,
    `insert into ledger select repeat('x', 1000) from generate_series(1, ${bytes / 1000})`,
  )
}

/** WAL that the primary has and the standby has not replayed: what nobody but the two together knows. */
async function trueLag({ primary, standby }: Pair): Promise<number> {
  const [row] = await administer(standby.url, 'select pg_last_wal_replay_lsn() as replayed')
  const [difference] = await administer(
    primary.url,
    `select pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '${row?.['replayed']}') as bytes`,
  )
  return Number(difference?.['bytes'])
}

/** Resolves when the standby has replayed everything. */
async function caughtUp(both: Pair) {
  while ((await trueLag(both)) > 0) await new Promise(setImmediate)
}

describe('a check that asks for the role', () => {
  test('is told that a primary is one, and nothing about its lag', async t => {
    const { role, lagBytes } = await open(t, pair.primary).ask()
    assert.deepEqual([role, lagBytes], ['primary', undefined])
  })

  test('is told that a standby is one, and that it has replayed everything', async t => {
    await caughtUp(pair)
    const { result, role, lagBytes } = await open(t, pair.standby).ask()
    assert.deepEqual([result, role, lagBytes], ['healthy', 'standby', 0])
  })

  test('is not told more than it asks for', async t => {
    const { ask } = open(t, pair.standby)
    const health = await ask('health')
    const role = await ask('role')
    assert.deepEqual([health.role, health.lagBytes], [undefined, undefined])
    assert.deepEqual([role.role, role.lagBytes], ['standby', undefined])
  })

  test('finds a primary read-only with the first query after it is fenced, and no longer after that', async t => {
    const { database, ask } = open(t, pair.primary)
    assert.equal((await ask()).role, 'primary')
    // The server needs a tenth of a second to read these. Until then its sessions have the old settings.
    const lines = "work_mem = '4MB'\n".repeat(4_000)
    await pair.primary.configure({ files: { 'postgresql.auto.conf': lines } })
    await pair.primary.configure({ settings: { default_transaction_read_only: 'on' } })
    assert.equal((await ask()).role, 'read_only')
    await pair.primary.configure({ settings: { default_transaction_read_only: 'off' } })
    assert.equal((await ask()).role, 'primary')
    assert.equal(database.connectionsOpened(), 1)
    await pair.primary.configure({ files: { 'postgresql.auto.conf': '' } })
  })

  test('finds a primary read-only if it is so for the user alone', async t => {
    await administer(pair.primary.url, 'alter role guest set default_transaction_read_only = on')
    assert.equal((await open(t, pair.primary, { user: 'guest' }).ask()).role, 'read_only')
    await administer(pair.primary.url, 'alter role guest reset default_transaction_read_only')
  })

  test('is healthy if the server refuses to tell, keeps the session, and calls the role unknown', async t => {
    const revoke = 'revoke execute on function pg_is_in_recovery() from public'
    await administer(pair.primary.url, revoke)
    const { database, ask } = open(t, pair.primary, { user: 'guest' })
    for (let check = 0; check < 3; check += 1) {
      const { result, role, roleReason } = await ask()
      assert.deepEqual([result, role, roleReason], ['healthy', undefined, 'unknown'])
    }
    assert.equal(database.connectionsOpened(), 1)
    await administer(pair.primary.url, revoke.replace('revoke', 'grant').replace('from', 'to'))
  })

  test('says that SELECT 1 was healthy before it asks, in the same check', async t => {
    const told: string[] = []
    const { database } = open(t, pair.primary)
    const verdict = await database.check(now() + 2_000, 'role', ({ result, role }) =>
      told.push(`${result} ${role}`),
    )
    assert.deepEqual(told, ['healthy undefined'])
    assert.equal(verdict.role, 'primary')
  })

  test('is healthy if a lock holds the question up: only the role timed out', async t => {
    const { ask } = open(t, pair.primary)
    await ask('health')
    // Nothing but a lock on the catalog of functions holds up a query that only calls functions.
    const release = await lockFunctions(t, pair.primary)
    const { result, role, roleReason } = await ask('role')
    assert.deepEqual([result, role, roleReason], ['healthy', undefined, 'timeout'])
    await release()
    assert.equal((await ask('role')).role, 'primary')
  })
})

describe('a check that asks for the lag', () => {
  test('tells the bytes that a paused standby has not replayed', async t => {
    const { ask } = open(t, pair.standby)
    await administer(pair.standby.url, 'select pg_wal_replay_pause()')
    await write(pair.primary, 5 * megabyte)
    await received(pair)
    const { lagBytes = 0 } = await ask()
    const truth = await trueLag(pair)
    await administer(pair.standby.url, 'select pg_wal_replay_resume()')
    assert.ok(lagBytes >= 5 * megabyte && lagBytes <= truth, `${lagBytes} of ${truth}`)
    await caughtUp(pair)
    assert.equal((await ask()).lagBytes, 0)
  })

  test('does not take a long transaction for lag, in which the age of the last commit grows', async t => {
    const { ask } = open(t, pair.standby)
    const insert = "insert into ledger select repeat('x', 1000) from generate_series(1, 2000)"
    await administer(pair.primary.url, 'begin', insert, 'select pg_sleep(1)', 'rollback')
    await caughtUp(pair)
    assert.equal((await ask()).lagBytes, 0)
  })

  test('tells it to a user with pg_read_all_stats, and to no other', async t => {
    await caughtUp(pair)
    assert.equal((await open(t, pair.standby, { user: 'auditor' }).ask()).lagBytes, 0)
    const { role, lagBytes } = await open(t, pair.standby, { user: 'guest' }).ask()
    assert.deepEqual([role, lagBytes], ['standby', undefined])
  })

  test('does not know it as soon as the upstream is lost, and knows it again when it is back', async t => {
    const { ask } = open(t, pair.standby)
    await pair.primary.stop()
    while ((await ask()).lagBytes !== undefined) await new Promise(setImmediate)
    assert.equal((await ask()).role, 'standby')
    await pair.primary.start()
    await streaming(pair.standby)
    await caughtUp(pair)
    assert.equal((await ask()).lagBytes, 0)
  })
})

describe('a standby behind a slow network', () => {
  test('lags by what its upstream has, not only by what it has received', async t => {
    const slow = await openThrottle(pair.primary.port, megabyte)
    t.after(() => slow.close())
    await follow(pair.standby, pair.primary, slow.port)
    await write(pair.primary, 8 * megabyte)
    const { ask } = open(t, pair.standby)
    let verdict = await ask()
    while ((verdict.lagBytes ?? 0) < megabyte) verdict = await ask()
    const [row] = await administer(
      pair.standby.url,
      'select pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) as bytes',
    )
    assert.ok(Number(row?.['bytes']) < megabyte, 'what it has received hides the lag')
    assert.ok((await trueLag(pair)) >= megabyte)
    await follow(pair.standby, pair.primary)
  })
})

describe('promotion and demotion', () => {
  test('the first check after the promotion finds a primary, on the session that it has', async t => {
    const { database, ask } = open(t, pair.standby)
    assert.equal((await ask()).role, 'standby')
    await pair.primary.stop('immediate')
    await promote(pair.standby)
    const { role, lagBytes } = await ask()
    assert.deepEqual([role, lagBytes], ['primary', undefined])
    assert.equal(database.connectionsOpened(), 1)
  })

  test('the old primary is a primary, too, if it just starts again: fencing is not the work of a check', async t => {
    await pair.primary.start()
    assert.equal((await open(t, pair.primary).ask()).role, 'primary')
    assert.equal((await open(t, pair.standby).ask()).role, 'primary')
  })

  test('the first check after the old primary was rebuilt finds a standby', async t => {
    const { ask } = open(t, pair.primary)
    assert.equal((await ask()).role, 'primary')
    await follow(pair.primary, pair.standby)
    const { role, lagBytes } = await ask()
    assert.equal(role, 'standby')
    assert.notEqual(lagBytes, undefined)
  })

  test('a query that begins before the promotion and ends after it finds a standby, not a read-only primary', async t => {
    const { database, ask } = open(t, pair.primary)
    await ask('health')
    // Opened before the lock: a login needs this catalog.
    const watcher = await connect(t, pair.primary)
    const locks = async (mode: string) =>
      (await watcher.query('select from pg_locks where mode = $1 and relation = 1255', [mode])).rowCount
    await locks('')
    const release = await lockFunctions(t, pair.standby)
    while ((await locks('AccessExclusiveLock')) === 0) await new Promise(setImmediate)
    const verdict = database.check(now() + 60_000, 'role')
    while ((await locks('AccessShareLock')) === 0) await new Promise(setImmediate)
    // As pg_ctl does it: the function would wait for the lock, too. The lock ends with the recovery.
    writeFileSync(join(pair.primary.folder, 'data', 'promote'), '')
    process.kill(pair.primary.pid, 'SIGUSR1')
    assert.equal((await verdict).role, 'standby')
    assert.equal((await ask('role')).role, 'primary')
    await release()
    await follow(pair.primary, pair.standby)
  })

  test('behind PgBouncer, too, the first check after the promotion finds a primary', async t => {
    const program = findTool(t, 'pgbouncer')
    if (!program) return
    const standby = pair.primary
    const pooler = await startPooler(t, program, standby)
    const { ask } = open(t, { port: pooler })
    assert.equal((await ask('role')).role, 'standby')
    await pair.standby.stop('immediate')
    await promote(standby)
    assert.equal((await ask('role')).role, 'primary')
  })
})

/** Resolves when the standby has received everything, replayed or not. */
async function received({ primary, standby }: Pair) {
  for (;;) {
    const [sent] = await administer(primary.url, 'select pg_current_wal_flush_lsn()::text as lsn')
    const [got] = await administer(standby.url, 'select pg_last_wal_receive_lsn()::text as lsn')
    if (sent?.['lsn'] === got?.['lsn']) return
  }
}

/** An operator's session, which ends with the test or with the server. */
async function connect(t: TestContext, { url }: Postgres): Promise<pg.Client> {
  const client = new pg.Client(url).on('error', () => {})
  await client.connect()
  t.after(() => client.end())
  return client
}

/** Locks the catalog of functions until the returned function is called. */
async function lockFunctions(t: TestContext, server: Postgres) {
  const client = await connect(t, server)
  await client.query('begin; lock table pg_proc in access exclusive mode')
  return () => client.query('rollback')
}

/** Passes everything on to `port`, but sends back only so many bytes per second. */
async function openThrottle(port: number, bytesPerSecond: number) {
  const sockets = new Set<net.Socket>()
  const server = net.createServer(client => {
    const upstream = net.connect(port, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket.on('error', () => socket.destroy()))
    }
    client.pipe(upstream)
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
    upstream.on('data', chunk => {
      upstream.pause()
      setTimeout(() => upstream.resume(), (chunk.length / bytesPerSecond) * 1_000)
      client.write(chunk)
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/** PgBouncer before one server, until the test ends. Resolves with its port. */
async function startPooler(t: TestContext, program: string, { folder, port }: Postgres): Promise<number> {
  const own = await findPort()
  const account = accountToRunAs()
  const settings = `[databases]
* = user=postgres host=127.0.0.1 port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
`
  const file = join(folder, 'pgbouncer.ini')
  writeFileSync(file, settings)
  if (account) chownSync(file, account.uid, account.gid)
  const child = spawn(program, [file], { stdio: ['ignore', 'ignore', 'pipe'], ...account })
  t.after(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  let log = ''
  for await (const chunk of child.stderr) {
    log += chunk
    if (log.includes('process up')) break
  }
  return own
}
