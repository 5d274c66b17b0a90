// Thousands of sessions, ended in every way, leave no descriptor, timer or memory behind.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import net, { type AddressInfo, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import tls from 'node:tls'
import v8 from 'node:v8'
import vm from 'node:vm'
import { readUrl } from '../../lib/conninfo/conninfo.ts'
import type { Verdict } from '../../lib/health/verdict.ts'
import { createDatabase } from '../../lib/postgres/database.ts'
import { type Certified, createRoot, sign } from '../support/certificates.ts'
import { noFiles } from '../support/database.ts'
import { row, welcome } from '../support/peer.ts'

v8.setFlagsFromString('--expose-gc')
const collect: () => void = vm.runInNewContext('gc')

/** By how much the heap may grow (bytes). */
const mostGrowth = 1_000_000
/** So many databases work at the same time, because one would mostly wait for its deadline. */
const lanes = 10
/** Longer than the pace of attempts and the age of a session (milliseconds on the given clock). */
const leapMs = 1_000

test('5,000 queries that time out: nothing is left', async t => {
  // The session answers its first query and one check, and then stays silent.
  const peer = await openPeer(t, [welcome, row('1'), row('1')])
  assertExpired(await assertNoLeak(5_000, peer.url, { impatientMs: 3 }), 5_000)
  assert.ok(peer.sessions() >= 5_000, `${peer.sessions()} sessions`)
})

test('1,000 queries that time out over TLS: nothing is left', { skip: missingOpenssl() }, async t => {
  const certified = sign(createRoot(), 'DNS:localhost')
  const peer = await openPeer(t, [welcome, row('1'), row('1')], certified)
  assertExpired(await assertNoLeak(1_000, peer.url, { impatientMs: 3 }), 1_000)
  assert.ok(peer.sessions() >= 1_000, `${peer.sessions()} sessions`)
})

test('5,000 logins that time out: nothing is left', async t => {
  const peer = await openPeer(t, [])
  const counts = await assertNoLeak(5_000, peer.url, { timeoutMs: 3, connectTimeoutMs: 3 })
  assert.deepEqual(counts, { connect_timeout: 5_000 })
})

test('10,000 refused connects: nothing is left', async t => {
  const { url, close } = await openPeer(t, [])
  await close()
  assert.deepEqual(await assertNoLeak(10_000, url, {}), { unreachable: 10_000 })
})

test('10,000 sessions replaced for their age: nothing is left', async t => {
  const peer = await openPeer(t, [welcome, row('1'), row('1')])
  assert.deepEqual(await assertNoLeak(10_000, peer.url, { sessionMaxAgeMs: leapMs / 2 }), { healthy: 10_000 })
  assert.ok(peer.sessions() >= 10_000, `${peer.sessions()} sessions`)
})

/** In every second check the open session stayed silent and was dropped, with no time left to open another. */
function assertExpired({ healthy, timeout = 0, connect_timeout = 0 }: Counts, times: number) {
  assert.equal(healthy, times)
  assert.equal(timeout + connect_timeout, times)
}

type Counts = Partial<Record<Verdict['result'], number>>

interface Limits {
  readonly timeoutMs?: number
  /** When given, each check is followed by one that has only so many milliseconds. */
  readonly impatientMs?: number
  readonly connectTimeoutMs?: number
  readonly sessionMaxAgeMs?: number
}

/** Asks so often, after a tenth of that to warm up. Gives how often each answer came. */
async function assertNoLeak(asks: number, url: string, limits: Limits): Promise<Counts> {
  // They stay open while resources are counted, so that what they keep is counted as well.
  const askers = Array.from({ length: lanes }, () => createAsker(url, limits))
  const idle = await resources()
  await askAll(askers, asks / 10)
  const before = await holdings(idle)
  const counts = await askAll(askers, asks)
  const after = await holdings(idle)
  assert.deepEqual(before.resources, idle, 'timers and sockets')
  assert.deepEqual(after.resources, idle, 'timers and sockets')
  assert.equal(after.descriptors, before.descriptors, 'descriptors')
  const growth = after.heap - before.heap
  assert.ok(growth < mostGrowth, `the heap grew by ${growth} bytes`)
  for (const { database } of askers) await database.close()
  return counts
}

async function askAll(askers: readonly Asker[], asks: number): Promise<Counts> {
  const counts: Counts = {}
  const lane = async ({ ask, database }: Asker) => {
    for (let time = 0; time < asks / lanes; time += 1) {
      for (const result of await ask()) counts[result] = (counts[result] ?? 0) + 1
    }
    database.reset(new Error('the lane is over'))
  }
  await Promise.all(askers.map(lane))
  return counts
}

type Asker = ReturnType<typeof createAsker>

/** The clock jumps before each check. Otherwise the pace of attempts to connect would make this take 1,000 s. */
function createAsker(url: string, limits: Limits) {
  const { timeoutMs = 5_000, connectTimeoutMs = 5_000, sessionMaxAgeMs = 60_000, impatientMs } = limits
  const reading = readUrl(url, 'DATABASE_URL', 'postgres')
  assert.ok('value' in reading)
  const target = { ...reading.value, ...noFiles }
  let leaptMs = 0
  const now = () => performance.now() + leaptMs
  const readConninfo = () => target
  const database = createDatabase({
    readConninfo,
    phase: () => 'serving',
    timeoutMs,
    connectTimeoutMs,
    sessionMaxAgeMs,
    now,
  })
  return { database, ask }

  async function ask(): Promise<Verdict['result'][]> {
    leaptMs += leapMs
    const { result } = await database.check(now() + timeoutMs)
    if (impatientMs === undefined) return [result]
    leaptMs += leapMs
    return [result, (await database.check(now() + impatientMs)).result]
  }
}

/** What this process uses when all is closed and collected. */
async function holdings(idle: readonly string[]) {
  const held = await resources(idle.length)
  for (let round = 0; round < 3; round += 1) {
    collect()
    await new Promise(setImmediate)
  }
  return { resources: held, descriptors: descriptors(), heap: process.memoryUsage().heapUsed }
}

/**
 * The kinds of all timers and sockets that keep this process alive, once there are at most `most`: the peer's ends of
 * connections close a moment later. It also waits for files: a module that is being loaded has a descriptor.
 */
async function resources(most = Number.POSITIVE_INFINITY): Promise<string[]> {
  const until = performance.now() + 10_000
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, 50))
    const held = process.getActiveResourcesInfo().toSorted()
    const settled = held.length <= most && !held.some(name => /^(FSReq|CloseReq$)/.test(name))
    if (settled || performance.now() > until) return held
  }
}

/** How many are open; 0 on systems other than Linux. */
function descriptors(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
}

function missingOpenssl(): string | false {
  return spawnSync('openssl', ['version']).error
    ? 'openssl makes the certificates, and does not run here'
    : false
}

/**
 * A peer that answers each session with these messages, one for the login and one for each query, and then stays silent.
 * It closes after Terminate. With a certificate it requires TLS.
 */
async function openPeer(t: TestContext, answers: readonly Buffer[], certified?: Certified) {
  const sockets = new Set<Socket>()
  const secureContext =
    certified && tls.createSecureContext({ cert: certified.certificate, key: certified.key })
  let sessions = 0
  const server = net.createServer(raw => {
    sockets.add(raw.on('error', () => {}).on('close', () => sockets.delete(raw)))
    sessions += 1
    if (!secureContext) return serve(raw, [...answers])
    // SSLRequest.
    raw.once('data', () => {
      raw.write('S')
      const socket = new tls.TLSSocket(raw, { isServer: true, secureContext })
      serve(
        socket.on('error', () => {}),
        [...answers],
      )
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(close)
  const { port } = server.address() as AddressInfo
  const url = `postgres://x@127.0.0.1:${port}/x?sslmode=${certified ? 'require' : 'disable'}`
  return { url, close, sessions: () => sessions }

  async function close() {
    if (!server.listening) return
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
}

function serve(socket: Socket, answers: Buffer[]) {
  socket.on('data', chunk => {
    if (chunk[0] === 'X'.charCodeAt(0)) socket.end()
    else socket.write(answers.shift() ?? '')
  })
}
