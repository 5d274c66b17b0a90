// Several hosts: the order in which they are tried, their shares of the time, and the roles that fit.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { Conninfo } from '../../lib/conninfo/conninfo.ts'
import type { Role, Verdict } from '../../lib/health/verdict.ts'
import { createDatabase, type DatabaseOptions } from '../../lib/postgres/database.ts'
import { conninfoOf } from '../support/database.ts'
import { error, fatal, honest, openPeer, type Peer, row, type Scenario, silence } from '../support/peer.ts'
import { findPort } from '../support/postgres.ts'

type Attrs = Conninfo['targetSessionAttrs']

const now = () => performance.now()

/** A server with a role, which it tells when it is asked. */
function serverOf(role: Role): Scenario {
  return {
    ...honest,
    statement: (_, sent) => (sent.includes('pg_is_in_recovery') ? row(role) : row('1')),
  }
}

const primary = serverOf('primary')
const standby = serverOf('standby')
const readOnly = serverOf('read_only')
const wrongPassword: Scenario = { ...honest, startup: fatal('28P01', 'password authentication failed') }

/** Peers that play these scenarios, and a database whose hosts they are, in this order. */
async function open(
  t: TestContext,
  scenarios: readonly Scenario[],
  attrs: Attrs = 'any',
  options: Partial<DatabaseOptions> = {},
) {
  const peers: Peer[] = []
  for (const scenario of scenarios) {
    const peer = await openPeer(scenario)
    t.after(() => peer.close())
    peers.push(peer)
  }
  return {
    peers,
    ...openAt(
      t,
      peers.map(({ port }) => port),
      attrs,
      options,
    ),
  }
}

function openAt(t: TestContext, ports: readonly number[], attrs: Attrs, options: Partial<DatabaseOptions>) {
  const [first, ...others] = ports.map(port => ({ host: '127.0.0.1', address: undefined, port }))
  assert.ok(first)
  const conninfo = conninfoOf(0, { hosts: [first, ...others], targetSessionAttrs: attrs })
  const limits = { timeoutMs: 1_000, connectTimeoutMs: 1_000, sessionMaxAgeMs: 60_000 }
  const database = createDatabase({
    readConninfo: () => conninfo,
    phase: () => 'serving',
    now,
    ...limits,
    ...options,
  })
  t.after(() => database.close())
  const ask = (ms = 1_000): Promise<Verdict> => database.check(now() + ms)
  return { database, ask }
}

const connectionsOf = (peers: readonly Peer[]) => peers.map(peer => peer.connections)

describe('several hosts', () => {
  test('the first that accepts the login is asked, and no other', async t => {
    const { peers, ask } = await open(t, [honest, honest])
    assert.equal((await ask()).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [1, 0])
  })

  test('a host that refuses the connection is followed by the next', async t => {
    const [closed, peer] = [await findPort(), await openPeer(honest)]
    t.after(() => peer.close())
    assert.equal((await openAt(t, [closed, peer.port], 'any', {}).ask()).result, 'healthy')
  })

  const passed: [title: string, scenario: Scenario][] = [
    ['is starting up', { ...honest, startup: fatal('57P03', 'the database system is starting up') }],
    ['has no free connection', { ...honest, startup: fatal('53300', 'sorry, too many clients already') }],
    ['closes the connection', { ...honest, accept: 'close' }],
    ['resets the connection', { ...honest, accept: 'reset' }],
    ['is not PostgreSQL', { ...honest, startup: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') }],
    ['fails its first query', { ...honest, statement: () => error('XX000', 'internal error') }],
  ]
  for (const [title, scenario] of passed) {
    test(`a host that ${title} is followed by the next, in the same check`, async t => {
      const { peers, ask } = await open(t, [scenario, honest])
      assert.equal((await ask()).result, 'healthy')
      assert.deepEqual(connectionsOf(peers), [1, 1])
    })
  }

  const final: [code: string, reason: string][] = [
    ['28P01', 'auth_failed'],
    ['28000', 'auth_failed'],
    ['42501', 'auth_failed'],
    ['3D000', 'no_database'],
  ]
  for (const [code, reason] of final) {
    test(`${code} is an answer: no other host is tried`, async t => {
      const { peers, ask } = await open(t, [{ ...honest, startup: fatal(code, 'no') }, honest])
      assert.equal((await ask()).result, reason)
      assert.deepEqual(connectionsOf(peers), [1, 0])
    })
  }

  test('if all fail, the first in the settings says why', async t => {
    const starting: Scenario = { ...honest, startup: fatal('57P03', 'the database system is starting up') }
    const { ask } = await open(t, [starting, { ...honest, accept: 'close' }])
    assert.equal((await ask()).result, 'starting_up')
  })

  test('the last good host is tried first', async t => {
    const { peers, ask } = await open(t, [{ ...honest, accept: 'close' }, honest], 'any', {
      sessionMaxAgeMs: 0,
    })
    await ask()
    peers[0]?.play(honest)
    for (let check = 0; check < 3; check += 1) assert.equal((await ask()).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [1, 4])
  })

  test('a good host that is slow to close an old session is still tried first', async t => {
    const slow: Scenario = { ...honest, end: 'ignore' }
    // Each host gets 10 s: on a busy machine, the first must not look silent.
    const limits = { sessionMaxAgeMs: 0, timeoutMs: 20_000, connectTimeoutMs: 20_000 }
    const { peers, ask } = await open(t, [slow, slow], 'any', limits)
    for (let check = 0; check < 3; check += 1) assert.equal((await ask(20_000)).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [3, 0])
  })

  test('a silent host costs its share of the time once, and is tried last after that', async t => {
    const { peers, ask } = await open(t, [{ ...honest, startup: silence }, honest, honest])
    const { result, connectMs = 0 } = await ask()
    assert.equal(result, 'healthy')
    assert.ok(connectMs >= 333, `${connectMs} ms`)
    peers[1]?.play({ ...honest, accept: 'close' })
    assert.equal((await ask()).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [1, 2, 1])
  })

  test('a host whose session fell silent is tried last', async t => {
    let silent = false
    const freezing: Scenario = { ...honest, statement: () => (silent ? silence : row('1')) }
    const { peers, ask } = await open(t, [freezing, honest])
    await ask()
    silent = true
    assert.equal((await ask()).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [1, 1])
  })

  test('a failed attempt leaves only the silent host for last, not the one that was tried after it', async t => {
    const { peers, ask } = await open(t, [
      { ...honest, startup: silence },
      { ...honest, accept: 'close' },
    ])
    assert.equal((await ask()).result, 'connect_timeout')
    peers[1]?.play(honest)
    assert.equal((await ask()).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [1, 2])
  })

  test('close() ends the search: the next host is not tried', async t => {
    const { peers, ask, database } = await open(t, [{ ...honest, startup: silence }, honest])
    const verdict = ask()
    while (peers[0]?.connections === 0) await new Promise(setImmediate)
    await database.close()
    assert.equal((await verdict).result, 'connection_lost')
    assert.deepEqual(connectionsOf(peers), [1, 0])
  })
})

describe('target_session_attrs', () => {
  const choices: [attrs: Attrs, servers: readonly Role[], connections: readonly number[]][] = [
    ['any', ['standby', 'primary'], [1, 0]],
    ['read-write', ['standby', 'read_only', 'primary'], [1, 1, 1]],
    ['read-only', ['primary', 'read_only', 'standby'], [1, 1, 0]],
    ['read-only', ['primary', 'standby'], [1, 1]],
    ['primary', ['standby', 'read_only', 'primary'], [1, 1, 0]],
    ['standby', ['primary', 'read_only', 'standby'], [1, 1, 1]],
    ['prefer-standby', ['primary', 'standby'], [1, 1]],
    ['prefer-standby', ['primary', 'read_only'], [2, 1]],
  ]
  for (const [attrs, servers, connections] of choices) {
    test(`${attrs} of ${servers.join(', ')}: the last one that is tried fits`, async t => {
      const { peers, ask } = await open(t, servers.map(serverOf), attrs)
      assert.equal((await ask()).result, 'healthy')
      assert.deepEqual(connectionsOf(peers), connections)
      // It stays with this server.
      assert.equal((await ask()).result, 'healthy')
      assert.deepEqual(connectionsOf(peers), connections)
    })
  }

  const unfit: [attrs: Attrs, servers: readonly Role[], reason: string][] = [
    ['read-write', ['standby'], 'standby'],
    ['read-write', ['read_only', 'standby'], 'read_only'],
    ['primary', ['standby', 'standby'], 'standby'],
    ['standby', ['primary'], 'primary'],
    ['read-only', ['primary', 'primary'], 'primary'],
  ]
  for (const [attrs, servers, reason] of unfit) {
    test(`${attrs} of ${servers.join(', ')}: unhealthy, and the reason is ${reason}`, async t => {
      const { ask } = await open(t, servers.map(serverOf), attrs)
      assert.equal((await ask()).result, reason)
    })
  }

  test('a server with another role says more than one that is down', async t => {
    const { ask } = await open(t, [{ ...honest, accept: 'close' }, standby], 'read-write')
    assert.equal((await ask()).result, 'standby')
  })

  test('prefer-standby takes the primary if the standby is down, and knows a wrong password at once', async t => {
    const { peers, ask } = await open(t, [primary, { ...honest, accept: 'close' }], 'prefer-standby')
    assert.equal((await ask()).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [2, 1])
    const refused = await open(t, [primary, wrongPassword], 'prefer-standby')
    assert.equal((await refused.ask()).result, 'auth_failed')
  })

  test('a session whose server no longer fits is replaced within the next check', async t => {
    let role: Role = 'primary'
    const changing: Scenario = {
      ...honest,
      statement: (_, sent) => (sent.includes('pg_is_in_recovery') ? row(role) : row('1')),
    }
    const { peers, ask, database } = await open(t, [changing, standby, primary], 'read-write')
    assert.equal((await ask()).result, 'healthy')
    role = 'read_only'
    assert.equal((await ask()).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [2, 1, 1])
    assert.equal(database.connectionsOpened(), 2)
  })

  test('a server whose role has changed is not the first to be tried again', async t => {
    const roles: Role[] = ['standby', 'primary']
    const changing = (place: number): Scenario => ({
      ...honest,
      statement: (_, sent) => (sent.includes('pg_is_in_recovery') ? row(String(roles[place])) : row('1')),
    })
    const { peers, ask } = await open(t, [changing(0), changing(1)], 'read-write')
    assert.equal((await ask()).result, 'healthy')
    roles.reverse()
    assert.equal((await ask()).result, 'healthy')
    assert.deepEqual(connectionsOf(peers), [2, 1])
  })

  test('a server that fits again is found by the next check', async t => {
    const { peers, ask } = await open(t, [readOnly], 'read-write')
    assert.equal((await ask()).result, 'read_only')
    peers[0]?.play(primary)
    assert.equal((await ask()).result, 'healthy')
  })

  test('an answer that is not a role is unhealthy', async t => {
    const { ask } = await open(t, [{ ...honest, statement: () => row('1') }], 'read-write')
    assert.equal((await ask()).result, 'unknown')
  })

  test('any asks for no role, and neither does prefer-standby on an open session', async t => {
    for (const attrs of ['any', 'prefer-standby'] as const) {
      const queries: string[] = []
      const watched: Scenario = {
        ...honest,
        statement(index, sent) {
          queries.push(sent.toString('latin1', 5, sent.length - 1))
          return standby.statement(index, sent)
        },
      }
      const { ask } = await open(t, [watched, honest], attrs)
      await ask()
      queries.length = 0
      await ask()
      assert.deepEqual(queries, ['/*NO QUERY CACHE*/ SELECT 1'])
    }
  })
})
