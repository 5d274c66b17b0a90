// createDatabase() with a real PostgreSQL behind a recording proxy: its sessions, its deadlines and its reasons.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import postgres from 'postgres'
import { readUrl } from '../../lib/conninfo/conninfo.ts'
import { codeOf } from '../../lib/error.ts'
import type { Verdict } from '../../lib/health/verdict.ts'
import { createDatabase, type DatabaseOptions } from '../../lib/postgres/database.ts'
import { noFiles } from '../support/database.ts'
import { error, fatal, message, openPeer, row, type Scenario, silence, welcome } from '../support/peer.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { checkQuery, openProxy } from '../support/proxy.ts'

const hba = `local all all trust
host all guest 127.0.0.1/32 scram-sha-256
host all outcast 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
`
const now = () => performance.now()

let server: Postgres

before(async () => {
  const settings = {
    log_connections: 'on',
    log_disconnections: 'on',
    log_min_messages: 'debug1',
    max_connections: '8',
  }
  server = await openPostgres({ settings, files: { 'pg_hba.conf': hba } })
})
after(() => server.close())

/** A database at `url`, closed when the test is over. */
function openDatabase(t: TestContext, url: string, options: Partial<DatabaseOptions> = {}) {
  const reading = readUrl(url, 'DATABASE_URL', 'postgres')
  if ('faults' in reading) throw new Error(reading.faults.join())
  const target = { ...reading.value, ...noFiles }
  const defaults = { timeoutMs: 1_000, connectTimeoutMs: 5_000, sessionMaxAgeMs: 60_000, now }
  const database = createDatabase({
    readConninfo: () => target,
    phase: () => 'serving',
    ...defaults,
    ...options,
  })
  t.after(() => database.close())
  return {
    database,
    /** One check with `ms` to answer. */
    async ask(ms = 1_000): Promise<Verdict & { readonly tookMs: number }> {
      const beganAt = now()
      const verdict = await database.check(beganAt + ms)
      return { ...verdict, tookMs: now() - beganAt }
    },
  }
}

/** A database behind a proxy, in front of the real PostgreSQL. */
async function openBehindProxy(t: TestContext, options: Partial<DatabaseOptions> = {}) {
  const proxy = await openProxy(server.port)
  t.after(() => proxy.close())
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres?sslmode=disable`
  return { proxy, ...openDatabase(t, url, options) }
}

async function openAtPeer(t: TestContext, scenario: Scenario, options: Partial<DatabaseOptions> = {}) {
  const peer = await openPeer(scenario)
  t.after(() => peer.close())
  return {
    peer,
    ...openDatabase(t, `postgres://postgres@127.0.0.1:${peer.port}/postgres?sslmode=disable`, options),
  }
}

/** Runs SQL as an operator would, directly on the server. */
async function administer<T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(server.url, { max: 1, onnotice() {} })
  try {
    return await work(sql)
  } finally {
    await sql.end()
  }
}

async function waitUntil(condition: () => Promise<boolean>) {
  while (!(await condition())) await new Promise(setImmediate)
}

/** A clock that a test moves: timers fire when it does, and sockets work as ever. */
function createClock(t: TestContext) {
  let time = 0
  return { now: () => time, start: () => t.mock.timers.enable({ apis: ['setTimeout'] }), advance, waitFor }

  async function advance(ms: number) {
    time += ms
    t.mock.timers.tick(ms)
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate)
  }

  /** Advances the clock until `work` is settled. Resolves with how long that took, milliseconds. */
  async function waitFor(work: Promise<unknown>): Promise<number> {
    let settled = false
    const since = time
    work.finally(() => {
      settled = true
    })
    while (!settled) await advance(1)
    return time - since
  }
}

describe('database.check() on a session', () => {
  test('check() opens a session, warms it with a query, then sends its own', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    const { result, connectMs, queryMs } = await ask()
    assert.equal(result, 'healthy')
    assert.ok(connectMs !== undefined && queryMs !== undefined)
    assert.deepEqual(
      proxy.statements.map(({ text }) => text),
      [checkQuery, checkQuery],
    )
  })

  test('check() sends one query on the open session', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    await ask()
    const { result, connectMs } = await ask()
    assert.equal(result, 'healthy')
    assert.equal(connectMs, undefined)
    assert.equal(proxy.statements.length, 3)
    assert.equal(proxy.connections.length, 1)
  })

  test('check() replaces a session past its maximum age, one connection at a time', async t => {
    const { ask, proxy } = await openBehindProxy(t, { sessionMaxAgeMs: 0 })
    for (let check = 0; check < 3; check += 1) assert.equal((await ask()).result, 'healthy')
    assert.equal(proxy.connections.length, 3)
    assert.equal(proxy.mostConnections, 1)
  })

  test('check() replaces a session that the network reset while it was idle', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    await ask()
    proxy.reset()
    assert.equal((await ask()).result, 'healthy')
    assert.equal(proxy.connections.length, 2)
  })

  test('check() replaces a session that the server terminated while it was idle', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    await ask()
    await administer(
      sql => sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pg-health'`,
    )
    assert.equal((await ask()).result, 'healthy')
    assert.equal(proxy.connections.length, 2)
  })

  test('check() drops a silent session after half the time; a new one gets the rest', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    await ask()
    proxy.stallOpen()
    const { result, tookMs, connectMs = 0 } = await ask(1_000)
    assert.equal(result, 'healthy')
    assert.ok(tookMs >= 499, `${tookMs} ms`)
    assert.ok(connectMs >= 499, `the silence counts as part of the wait for a session: ${connectMs} ms`)
    assert.equal(proxy.connections.length, 2)
  })

  test('close() ends the session politely: the server logs no unexpected EOF', async t => {
    const { ask, database } = openDatabase(t, `${server.url}?application_name=polite`)
    await ask()
    const from = server.log().length
    await database.close()
    await waitUntil(async () => server.log().includes('disconnection: session time', from))
    assert.doesNotMatch(server.log().slice(from), /unexpected EOF/)
  })

  test('close() lets a query be answered first', async t => {
    const { ask, database, proxy } = await openBehindProxy(t)
    await ask()
    proxy.delay(100)
    const [{ result }] = await Promise.all([ask(), database.close()])
    assert.equal(result, 'healthy')
  })

  test('SELECT 1 is all that the server sees: no named statement, no query for types', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    for (let check = 0; check < 5; check += 1) await ask()
    assert.deepEqual(new Set(proxy.statements.map(({ text }) => text)), new Set([checkQuery]))
    assert.equal(proxy.statements.length, 6)
  })

  test('connectMs and queryMs measure the connect and the query apart', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    proxy.delay(50)
    const { connectMs = 0, queryMs = 0, tookMs } = await ask()
    assert.ok(connectMs >= 99 && queryMs >= 49, `${connectMs} ms and ${queryMs} ms`)
    assert.ok(connectMs + queryMs <= tookMs, `${connectMs} ms and ${queryMs} ms in ${tookMs} ms`)
  })

  test('queryMs excludes our own work in the turn that sends the query', async t => {
    const { ask } = openDatabase(t, server.url)
    await ask()
    const asked = ask()
    const busyUntil = now() + 300
    while (now() < busyUntil);
    const { result, queryMs = 0 } = await asked
    assert.equal(result, 'healthy')
    assert.ok(queryMs < 300, `${queryMs} ms`)
  })

  test('check() meets its deadline while an old session does not close', async t => {
    const clock = createClock(t)
    const { database } = openDatabase(t, server.url, { sessionMaxAgeMs: 0, now: clock.now })
    assert.equal((await database.check(1_000)).result, 'healthy')
    clock.start()
    await clock.advance(1)
    server.freeze()
    // Closing may take 100 ms when there is time.
    const tookMs = await clock.waitFor(database.check(clock.now() + 20))
    server.thaw()
    assert.ok(tookMs < 30, `${tookMs} ms`)
  })

  test('check() with little time gives an open session at least 100 ms', { timeout: 20_000 }, async t => {
    const clock = createClock(t)
    const { database, proxy } = await openBehindProxy(t, { now: clock.now })
    await database.check(1_000)
    proxy.stallOpen()
    clock.start()
    const checked = database.check(clock.now() + 110)
    // Half of the time is over.
    await clock.advance(60)
    proxy.flow()
    // The clock stops here, so a slow machine does not matter.
    assert.equal((await checked).result, 'healthy')
    assert.equal(proxy.connections.length, 1)
  })

  test('check() opens a session when half of the deadline is not a whole number', async t => {
    assert.equal((await openDatabase(t, server.url, { timeoutMs: 2_001 }).ask()).result, 'healthy')
  })

  test('reset() during a check: the session is replaced within that check', async t => {
    const { ask, database, proxy } = await openBehindProxy(t)
    await ask()
    proxy.stallOpen()
    const asked = ask()
    await new Promise(setImmediate)
    database.reset(new Error('ours'))
    assert.equal((await asked).result, 'healthy')
  })

  test('check() reads the parameters for each session: a rotated password is used', async t => {
    await administer(sql => sql`create role guest login password 'old'`.simple())
    const passwords = ['wrong', 'old']
    const reading = readUrl(`postgres://guest@127.0.0.1:${server.port}/postgres`, 'DATABASE_URL', '')
    assert.ok('value' in reading)
    const { ask } = openDatabase(t, server.url, {
      readConninfo: () => ({ ...reading.value, ...noFiles, password: passwords.shift() ?? '' }),
    })
    assert.equal((await ask()).result, 'auth_failed')
    assert.equal((await ask()).result, 'healthy')
  })
})

describe('database.check() in time', () => {
  test('a database that became silent: connect_timeout at the deadline', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    await ask()
    proxy.stall()
    const { result, tookMs } = await ask(300)
    assert.equal(result, 'connect_timeout')
    assert.ok(tookMs >= 299, `${tookMs} ms`)
  })

  test('a query without an answer: timeout at the deadline, on one connection', async t => {
    const onlyWarm = { startup: welcome, statement: (index: number) => (index === 0 ? row('1') : silence) }
    const { ask, peer } = await openAtPeer(t, onlyWarm)
    const { result, tookMs } = await ask(300)
    assert.equal(result, 'timeout')
    assert.ok(tookMs >= 299, `${tookMs} ms`)
    assert.equal(peer.connections, 1)
  })

  test('a connect slower than the deadline continues: the next check uses it', async t => {
    const { ask, proxy } = await openBehindProxy(t)
    proxy.delay(250)
    assert.equal((await ask(300)).result, 'connect_timeout')
    assert.equal((await ask(5_000)).result, 'healthy')
    assert.equal(proxy.connections.length, 1)
  })

  test('a connect ends after connectTimeoutMs, and the check that waited makes its own', async t => {
    const { ask, proxy } = await openBehindProxy(t, { connectTimeoutMs: 400 })
    proxy.stall()
    assert.equal((await ask(200)).result, 'connect_timeout')
    proxy.flow()
    proxy.stallOpen()
    assert.equal((await ask(5_000)).result, 'healthy')
    assert.equal(proxy.connections.length, 2)
  })

  test('a result in the socket buffer beats the deadline after a blocked event loop', async t => {
    const { ask } = openDatabase(t, server.url)
    await ask()
    const asked = ask(400)
    // The driver sends the query in the next turn.
    for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate)
    const stalledUntil = now() + 600
    while (now() < stalledUntil);
    const { result, connectMs } = await asked
    assert.equal(result, 'healthy')
    assert.equal(connectMs, undefined)
  })

  test('attempts to connect are at least 100 ms apart, however fast they are refused', async t => {
    const { ask, peer } = await openAtPeer(t, { startup: fatal('53300', 'sorry'), statement: () => silence })
    const beganAt = now()
    for (let check = 0; check < 4; check += 1) assert.equal((await ask()).result, 'pool_exhausted')
    assert.ok(now() - beganAt >= 299)
    assert.equal(peer.connections, 4)
  })

  test('checks that time out leave no socket and no timer', async t => {
    const firstOnly = { startup: welcome, statement: (index: number) => (index === 0 ? row('1') : silence) }
    const { ask, database } = await openAtPeer(t, firstOnly)
    const resources = () =>
      process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap' || name === 'Timeout')
    const before = resources()
    // On a busy machine the login may take longer than that.
    for (let check = 0; check < 20; check += 1) assert.match((await ask(110)).result, /^(connect_)?timeout$/)
    await database.close()
    // Fewer is right, too: a timer of an earlier test may have ended meanwhile.
    await waitUntil(async () => resources().length <= before.length)
  })
})

describe('database.check() with a question after SELECT 1', () => {
  /** A server that answers SELECT 1, and as given the queries for the role and the lag. */
  const answering = (role: Buffer, lag: Buffer): Scenario => ({
    startup: welcome,
    statement: (_, sent) =>
      sent.includes('pg_is_in_recovery') ? role : sent.includes('pg_stat_wal_receiver') ? lag : row('1'),
  })
  const standby = answering(row('standby'), row('5'))

  /** A database at such a server, behind a proxy that stalls the session when SELECT 1 is answered. */
  async function openStalling(t: TestContext, scenario: Scenario) {
    const peer = await openPeer(scenario)
    t.after(() => peer.close())
    const proxy = await openProxy(peer.port)
    t.after(() => proxy.close())
    const clock = createClock(t)
    const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres?sslmode=disable`
    const { database } = openDatabase(t, url, { now: clock.now })
    /** Asks for the lag, with one second to answer. `stalled` resolves when SELECT 1 is answered. */
    function ask() {
      let checked: Promise<Verdict> | undefined
      const stalled = new Promise<void>(resolve => {
        checked = database.check(clock.now() + 1_000, 'lag', () => {
          proxy.stallOpen()
          resolve()
        })
      })
      return { checked: checked as Promise<Verdict>, stalled }
    }
    return { database, proxy, clock, ask }
  }

  test('the role and the lag have half of the time that is left after SELECT 1', async t => {
    const { database, proxy, clock, ask } = await openStalling(t, standby)
    await database.check(1_000)
    clock.start()
    const { checked, stalled } = ask()
    await stalled
    await clock.advance(490)
    proxy.flow()
    const { role, lagBytes } = await checked
    assert.deepEqual([role, lagBytes], ['standby', 5])
    assert.equal(proxy.connections.length, 1)
  })

  test('the role is given up when half of the time is over, so that the next check has the other half', async t => {
    const { database, clock, ask } = await openStalling(t, standby)
    await database.check(1_000)
    clock.start()
    const { checked, stalled } = ask()
    await stalled
    const tookMs = await clock.waitFor(checked)
    const { result, roleReason } = await checked
    assert.deepEqual([result, roleReason], ['healthy', 'timeout'])
    assert.ok(tookMs >= 499 && tookMs <= 510, `${tookMs} ms`)
  })

  test('after a slow connect, the role has half of the time that is left, and at least 100 ms', async t => {
    const { proxy, clock, ask } = await openStalling(t, standby)
    clock.start()
    proxy.stall()
    const { checked, stalled } = ask()
    await waitUntil(async () => proxy.connections.length === 1)
    await clock.advance(840)
    proxy.flow()
    await stalled
    await clock.advance(90)
    proxy.flow()
    assert.equal((await checked).role, 'standby')
    assert.equal(proxy.connections.length, 1)
  })

  test('a lag that times out leaves the role known, and says why', async t => {
    const { database } = await openAtPeer(t, answering(row('standby'), silence), { timeoutMs: 200 })
    await database.check(now() + 5_000)
    const { result, role, lagBytes, roleReason } = await database.check(now() + 200, 'lag')
    assert.deepEqual([result, role, lagBytes, roleReason], ['healthy', 'standby', undefined, 'timeout'])
  })

  test('a row and then an error end the session: the next SELECT 1 is healthy', async t => {
    const withoutEnd = row('standby').subarray(0, -20)
    const canceled = answering(Buffer.concat([withoutEnd, error('57014', 'canceled')]), silence)
    const { database, peer } = await openAtPeer(t, canceled)
    const { result, roleReason } = await database.check(now() + 5_000, 'role')
    assert.deepEqual([result, roleReason], ['healthy', 'timeout'])
    assert.equal((await database.check(now() + 5_000)).result, 'healthy')
    assert.equal(peer.connections, 2)
  })

  test('a lag that the server refuses leaves the session open, and its code in the verdict', async t => {
    const refusing = answering(row('standby'), error('42883', 'no such function'))
    const { database, peer } = await openAtPeer(t, refusing)
    const { role, roleReason, roleError } = await database.check(now() + 5_000, 'lag')
    assert.deepEqual([role, roleReason, codeOf(roleError)], ['standby', 'unknown', '42883'])
    assert.equal((await database.check(now() + 5_000)).result, 'healthy')
    assert.equal(peer.connections, 1)
  })
})

describe('database.check() gives the reason', () => {
  const as = (user: string) => server.url.replace('postgres@', `${user}@`)

  before(() =>
    administer(async sql => {
      await sql`create role outcast login`
      await sql`create role late login password 'x' valid until '2020-01-01'`
      await sql`create role retired nologin`
      await sql`create role single login connection limit 1`
      await sql`create database closed allow_connections false`
      await sql`create database private`
      await sql`revoke connect on database private from public`
    }),
  )

  const faults: [name: string, result: string, url: () => string][] = [
    ['a wrong password', 'auth_failed', () => as('guest:nope')],
    ['no password', 'auth_failed', () => as('guest')],
    ['a role that does not exist', 'auth_failed', () => as('nobody_knows')],
    ['a role that may not log in', 'auth_failed', () => as('retired')],
    ['a reject in pg_hba.conf', 'auth_failed', () => as('outcast')],
    ['no privilege to connect', 'auth_failed', () => as('single').replace(/postgres$/, 'private')],
    ['a database that does not exist', 'no_database', () => server.url.replace(/postgres$/, 'nowhere')],
    [
      'a database that accepts no connections',
      'no_database',
      () => server.url.replace(/postgres$/, 'closed'),
    ],
    ['a port that is closed', 'unreachable', () => 'postgres://postgres@127.0.0.1:1/postgres'],
    ['a name with two addresses that are both refused', 'unreachable', () => 'postgres://x@localhost:1/x'],
    ['an unknown name', 'unreachable', () => 'postgres://postgres@pg-health.invalid/postgres'],
    ['a Unix socket that is missing', 'unreachable', () => 'postgres://postgres@/postgres?host=/nonexistent'],
    ['TLS required of a server that has none', 'tls', () => `${server.url}?sslmode=require`],
  ]
  for (const [name, result, url] of faults) {
    test(`${name}: ${result}`, async t => {
      const { ask } = openDatabase(t, url())
      assert.equal((await ask()).result, result)
    })
  }

  test('a Unix socket works', async t => {
    const url = `postgres://postgres@/postgres?host=${server.socketDirectory}&port=${server.port}`
    assert.equal((await openDatabase(t, url).ask()).result, 'healthy')
  })

  test('a role at its connection limit: pool_exhausted; replacing a session fits a limit of one', async t => {
    const { ask } = openDatabase(t, as('single'), { sessionMaxAgeMs: 0 })
    for (let check = 0; check < 3; check += 1) assert.equal((await ask()).result, 'healthy')
    assert.equal((await openDatabase(t, as('single')).ask()).result, 'pool_exhausted')
  })

  test('a full server: pool_exhausted, and healthy as soon as there is room', async t => {
    const { ask } = openDatabase(t, server.url)
    const crowd: postgres.Sql[] = []
    t.after(() => Promise.all(crowd.map(sql => sql.end())))
    for (let room = true; room; ) {
      const sql = postgres(server.url, { max: 1, onnotice() {} })
      room = await sql`select 1`.then(
        () => true,
        () => false,
      )
      if (room) crowd.push(sql)
    }
    assert.equal((await ask()).result, 'pool_exhausted')
    const from = server.log().length
    await crowd.pop()?.end()
    await waitUntil(async () => server.log().includes('disconnection: session time', from))
    assert.equal((await ask()).result, 'healthy')
  })

  test('a server that stops while other clients work: shutting_down', async t => {
    const { ask } = openDatabase(t, server.url)
    const worker = postgres(server.url, { max: 1, onnotice() {} })
    await worker`select 1`
    const stopped = server.stop('smart')
    await waitUntil(async () => server.log().includes('received smart shutdown request'))
    assert.equal((await ask()).result, 'shutting_down')
    await worker.end()
    await stopped
    assert.equal((await ask()).result, 'unreachable')
    await server.start()
    assert.equal((await ask()).result, 'healthy')
  })

  test('a server in recovery: starting_up', async t => {
    const standby = await openPostgres({ settings: { hot_standby: 'off' } })
    t.after(() => standby.close())
    await standby.stop()
    const { ask } = openDatabase(t, standby.url)
    await standby.configure({ files: { 'standby.signal': '' } })
    const started = standby.start()
    started.catch(() => {})
    await waitUntil(async () => standby.log().includes('entering standby mode'))
    assert.equal((await ask()).result, 'starting_up')
    await standby.close()
    await assert.rejects(started)
  })

  test('a peer that accepts and closes: connection_lost, one connection per check', async t => {
    const peer = net.createServer(socket => socket.end())
    await once(peer.listen(0, '127.0.0.1'), 'listening')
    t.after(() => peer.close())
    let connections = 0
    peer.on('connection', () => {
      connections += 1
    })
    const { port } = peer.address() as AddressInfo
    const { ask } = openDatabase(t, `postgres://x@127.0.0.1:${port}/x?sslmode=disable`)
    for (let check = 0; check < 3; check += 1) assert.equal((await ask()).result, 'connection_lost')
    assert.equal(connections, 3)
  })

  test('an answer that comes before its query is not accepted', async t => {
    const ahead = { startup: welcome, statement: () => Buffer.concat([row('1'), row('1')]) }
    const { ask } = await openAtPeer(t, ahead)
    assert.equal((await ask(500)).result, 'connection_lost')
  })

  test('what ends a session during a query gives the verdict its code', async t => {
    const ends = new Map([
      ['08P01', message('G', Buffer.alloc(3))],
      ['57P01', fatal('57P01', 'bye')],
      ['CONNECTION_CLOSED', message('N', Buffer.from('VFATAL\0'))],
    ])
    for (const [code, bytes] of ends) {
      const ending: Scenario = { startup: welcome, statement: index => (index === 0 ? row('1') : bytes) }
      const { ask } = await openAtPeer(t, ending)
      assert.equal(codeOf((await ask(500)).error), code)
    }
  })

  const lies: [name: string, result: string, scenario: Scenario][] = [
    [
      'SELECT 1 that returns 2',
      'bad_result',
      { startup: welcome, statement: index => row(index === 0 ? '1' : '2') },
    ],
    [
      'a PgBouncer with a full pool',
      'pool_exhausted',
      { startup: fatal('08P01', 'query_wait_timeout'), statement: () => silence },
    ],
    [
      'a PgBouncer that is full itself',
      'pool_exhausted',
      { startup: fatal('08P01', 'no more connections allowed (max_client_conn)'), statement: () => silence },
    ],
    ['an unknown error code', 'unknown', { startup: fatal('XX999', 'whatever'), statement: () => silence }],
    [
      'a COPY response, which ends an unguarded process',
      'connection_lost',
      { startup: message('G', Buffer.alloc(3)), statement: () => silence },
    ],
    [
      'a query that is cancelled on every session',
      'timeout',
      { startup: welcome, statement: index => (index === 0 ? row('1') : error('57014', 'canceled')) },
    ],
  ]
  for (const [name, result, scenario] of lies) {
    test(`${name}: ${result}`, async t => {
      const { ask } = await openAtPeer(t, scenario)
      assert.equal((await ask(500)).result, result)
    })
  }
})
