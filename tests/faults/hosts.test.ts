// The first of three hosts fails: the server that pg-health chooses, with psql as the oracle, and where the two differ.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import type { Conninfo } from '../../lib/conninfo/conninfo.ts'
import { Expired } from '../../lib/postgres/expiry.ts'
import { createHosts } from '../../lib/postgres/hosts.ts'
import { createLookup } from '../../lib/postgres/lookup.ts'
import type { Opening } from '../../lib/postgres/session.ts'
import { logged } from '../support/administer.ts'
import { createRoot, missingOpenssl, sign } from '../support/certificates.ts'
import { conninfoOf, openDatabase } from '../support/database.ts'
import { follow, openPair, type Pair, promote } from '../support/pair.ts'
import { fatal, honest, openPeer, type Scenario, silence } from '../support/peer.ts'
import { findPort } from '../support/postgres.ts'
import { openProxy } from '../support/proxy.ts'
import { findTool } from '../support/tools.ts'

type Attrs = Conninfo['targetSessionAttrs']
type Mode = Conninfo['tls']['mode']

const now = () => performance.now()
const attributes: readonly Attrs[] = [
  'any',
  'read-write',
  'read-only',
  'primary',
  'standby',
  'prefer-standby',
]
/** The role that each of them finds behind a first host that is passed over: a primary and a standby follow. */
const chosen: Readonly<Record<Attrs, string>> = {
  any: 'primary',
  'read-write': 'primary',
  'read-only': 'standby',
  primary: 'primary',
  standby: 'standby',
  'prefer-standby': 'standby',
}

let pair: Pair

before(async () => {
  const settings = { log_connections: 'on', log_disconnections: 'on' }
  if (missingOpenssl()) pair = await openPair({ settings })
  else {
    const { certificate, key } = sign(createRoot(), 'DNS:localhost')
    const files = { 'server.crt': certificate, 'server.key': key }
    pair = await openPair({ settings: { ...settings, ssl: 'on' }, files })
  }
})
after(() => pair.close())

const hostsOf = (ports: readonly number[]): Conninfo['hosts'] => {
  const [first, ...others] = ports.map(port => ({ host: '127.0.0.1', address: undefined, port }))
  assert.ok(first)
  return [first, ...others]
}

/** What pg-health chooses: the role of the server, or why there is none. */
async function ours(
  t: TestContext,
  ports: readonly number[],
  targetSessionAttrs: Attrs,
  mode: Mode,
): Promise<string> {
  const conninfo = { hosts: hostsOf(ports), targetSessionAttrs, tls: { mode } }
  // Of six tries, each gets at least 3 s: on a busy machine, a host that answers must not look silent.
  const limits = { timeoutMs: 6_000, connectTimeoutMs: 18_000 }
  const database = openDatabase(t, conninfoOf(0, conninfo), limits)
  const { result, role } = await database.check(now() + 60_000, 'role')
  await database.close()
  return result === 'healthy' ? String(role) : result
}

/** What psql chooses: the role of the server, or `stopped`. */
function theirs(psql: string, ports: readonly number[], attrs: Attrs, mode: Mode): Promise<string> {
  const conninfo = `host=${ports.map(() => '127.0.0.1').join()} port=${ports.join()} user=postgres dbname=postgres sslmode=${mode} connect_timeout=5 target_session_attrs=${attrs}`
  const query = "select case when pg_is_in_recovery() then 'standby' else 'primary' end"
  return new Promise(resolve => {
    execFile(psql, ['-XAtw', '-c', query, conninfo], (error, stdout) =>
      resolve(error ? 'stopped' : stdout.trim()),
    )
  })
}

/** The port of a first host, which is there until the test ends. */
type Fault = (t: TestContext) => Promise<number>

const playing =
  (scenario: Scenario): Fault =>
  async t => {
    const peer = await openPeer(scenario)
    t.after(() => peer.close())
    return peer.port
  }
const refusing = (code: string, text: string) => playing({ ...honest, startup: fatal(code, text) })

/** Ours is the reason, or undefined if another host is chosen; libpq stops wherever it is not told to go on. */
const faults: readonly [
  title: string,
  fault: Fault,
  psql: 'goes on' | 'stops' | 'stops or goes on',
  reason?: string,
][] = [
  ['refuses the connection', () => findPort(), 'goes on'],
  ['loses every packet', openDead, 'goes on'],
  ['accepts the connection and says nothing', playing({ ...honest, startup: silence }), 'goes on'],
  ['is starting up', refusing('57P03', 'the database system is starting up'), 'goes on'],
  ['rejects the password', refusing('28P01', 'password authentication failed'), 'stops', 'auth_failed'],
  ['has no line in pg_hba.conf', refusing('28000', 'no pg_hba.conf entry'), 'stops', 'auth_failed'],
  ['denies CONNECT', refusing('42501', 'permission denied for database'), 'stops', 'auth_failed'],
  ['does not have the database', refusing('3D000', 'database does not exist'), 'stops', 'no_database'],
  // Here libpq stops and we go on.
  ['has too many clients', refusing('53300', 'sorry, too many clients already'), 'stops'],
  // libpq goes on if the reset comes before it has seen the connection, and stops after that.
  ['resets the connection', playing({ ...honest, accept: 'reset' }), 'stops or goes on'],
  ['closes the connection', playing({ ...honest, accept: 'close' }), 'stops'],
  ['is not PostgreSQL', playing({ ...honest, startup: Buffer.from('HTTP/1.1 400 Bad\r\n\r\n') }), 'stops'],
]

describe('the first of three hosts', { concurrency: 2 }, () => {
  for (const [title, fault, psqlDoes, reason] of faults) {
    test(`${title}: psql ${psqlDoes}, pg-health ${reason ? 'stops' : 'goes on'}`, async t => {
      const psql = findTool(t, 'psql')
      const ports = [await fault(t), pair.primary.port, pair.standby.port]
      const tried = attributes.map(async attrs => {
        assert.equal(await ours(t, ports, attrs, 'disable'), reason ?? chosen[attrs], attrs)
        if (psql === undefined || psqlDoes === 'stops or goes on') return
        const expected = psqlDoes === 'goes on' ? chosen[attrs] : 'stopped'
        assert.equal(await theirs(psql, ports, attrs, 'disable'), expected, `psql with ${attrs}`)
      })
      await Promise.all(tried)
    })
  }
})

test('a first host without the TLS that is required: psql stops, pg-health goes on', async t => {
  if (missingOpenssl()) return t.skip('openssl makes the certificate')
  const psql = findTool(t, 'psql')
  // The answer to an SSLRequest.
  const noTls = await playing({ ...honest, startup: Buffer.from('N') })(t)
  const ports = [noTls, pair.primary.port, pair.standby.port]
  for (const attrs of attributes) {
    assert.equal(await ours(t, ports, attrs, 'require'), chosen[attrs], attrs)
    if (psql) assert.equal(await theirs(psql, ports, attrs, 'require'), 'stopped', `psql with ${attrs}`)
  }
})

describe('a host that loses every packet', () => {
  // A whole share of the time is half a minute.
  test('has one turn, as long as that of an address, if others follow', { timeout: 20_000 }, async t => {
    const session = await openOn(t, [await openDead(t), pair.primary.port], 60_000)
    assert.equal(await session.readRole(), 'primary')
  })

  test('is called again and again until the time is over, if it is the last', async t => {
    const session = openOn(t, [await openDead(t)], 1_500)
    // One turn would end with ETIMEDOUT after 200 ms.
    await assert.rejects(session, Expired)
  })
})

/** Starts to open a session for reads and writes, with 100 ms for an address and so many milliseconds for all. */
function openOn(t: TestContext, ports: readonly number[], ms: number): Opening['session'] {
  const hosts = createHosts({ lookup: createLookup(), addressTimeoutMs: 100, now })
  const conninfo = conninfoOf(0, { hosts: hostsOf(ports), targetSessionAttrs: 'read-write' })
  const opening = hosts.open(conninfo, now(), now() + ms)
  t.after(() => opening.destroy(new Error('The test is over')))
  return opening.session
}

describe('read-write over a pair, each behind a proxy', () => {
  test('the primary is found behind the standby, one connection at a time, and the other ends politely', async t => {
    const { ask, proxies } = await openBehindProxies(t)
    const from = pair.standby.log().length
    assert.equal(await ask(), 'healthy')
    assert.deepEqual(
      proxies.map(({ connections }) => connections.length),
      [1, 1],
    )
    const [standby, primary] = proxies
    const endedAt = standby?.closures[0]
    assert.ok(endedAt !== undefined && endedAt <= Number(primary?.connections[0]), 'two at the same time')
    await logged(pair.standby, 'disconnection: session time', from)
    assert.doesNotMatch(pair.standby.log().slice(from), /unexpected EOF|could not receive data/)
  })

  test('a fenced primary fails the next check, and the first check after its release passes', async t => {
    const { ask } = await openBehindProxies(t)
    assert.equal(await ask(), 'healthy')
    await pair.primary.configure({ settings: { default_transaction_read_only: 'on' } })
    // The standby is the first in the list, so its role is the one that is told.
    assert.equal(await ask(), 'standby')
    await pair.primary.configure({ settings: { default_transaction_read_only: 'off' } })
    assert.equal(await ask(), 'healthy')
  })

  test('a primary that froze is replaced by the promoted standby', async t => {
    const { ask, database } = await openBehindProxies(t)
    assert.equal(await ask(), 'healthy')
    pair.primary.freeze()
    assert.equal(await ask(), 'connect_timeout')
    // The frozen one is tried last, and for a short time only.
    assert.equal(await ask(), 'standby')
    await promote(pair.standby)
    assert.equal(await ask(), 'healthy')
    assert.equal(database.connectionsOpened(), 2)
    pair.primary.thaw()
    await follow(pair.primary, pair.standby)
    assert.equal(await ask(), 'healthy')
  })

  test('the first check after a switchover back is healthy, and so is every later one', async t => {
    const { ask } = await openBehindProxies(t)
    assert.equal(await ask(), 'healthy')
    await pair.standby.stop()
    assert.equal(await ask(), 'standby')
    await promote(pair.primary)
    for (let check = 0; check < 3; check += 1) assert.equal(await ask(), 'healthy')
  })
})

/** A database whose hosts are the standby and the primary, in this order. */
async function openBehindProxies(t: TestContext) {
  const proxies = [await openProxy(pair.standby.port), await openProxy(pair.primary.port)]
  for (const proxy of proxies) t.after(() => proxy.close())
  const hosts = hostsOf(proxies.map(({ port }) => port))
  const database = openDatabase(t, conninfoOf(0, { hosts, targetSessionAttrs: 'read-write' }))
  const ask = async () => (await database.check(now() + 2_000)).result
  return { proxies, database, ask }
}

/** A server that does not accept any more: its queue is full, so the kernel drops what comes. */
async function openDead(t: TestContext): Promise<number> {
  const port = await findPort()
  const script = `require('net').createServer().listen({ host: '127.0.0.1', port: ${port}, backlog: 1 }, () => {
    process.stdout.write('.', () => process.kill(process.pid, 'SIGSTOP'))
  })`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  const sockets: net.Socket[] = []
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  // Until one hangs, the queue is not full.
  for (;;) {
    const socket = net.connect(port, '127.0.0.1').on('error', () => {})
    sockets.push(socket)
    const connected = await Promise.race([
      once(socket, 'connect').then(() => true),
      new Promise<boolean>(resolve => setTimeout(resolve, 300, false)),
    ])
    if (!connected) return port
  }
}
