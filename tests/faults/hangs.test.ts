// PostgreSQL, or the network, hangs: every answer comes in time, and the first request after it is healthy.
//
// A frozen server and a stalled network are in tests/program/server.test.ts.
import assert from 'node:assert/strict'
import { after, before, describe, type TestContext, test } from 'node:test'
import { backendOf, terminate } from '../support/administer.ts'
import { type Caller, type Judged, startJudged } from '../support/judge.ts'
import { findPacketLoss } from '../support/network.ts'
import { honest, openPeer, type Peer, row, type Scenario, silence, welcome } from '../support/peer.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy } from '../support/proxy.ts'

const timeoutMs = 800

/** One request. Its attempt to connect goes on after its 503, and serves the next: the one that the judge sends. */
async function once({ ask }: Caller) {
  return [await ask()]
}

/** Starts the program with the database at this port. */
function start(port: number, settings: Record<string, string> = {}) {
  return startJudged({
    DATABASE_URL: `postgres://postgres:geheim@127.0.0.1:${port}/postgres?sslmode=disable`,
    HEALTH_TIMEOUT_MS: `${timeoutMs}`,
    ...settings,
  })
}

describe('PostgreSQL hangs', () => {
  let postgres: Postgres
  let judged: Judged
  before(async () => {
    postgres = await openPostgres()
    judged = await start(postgres.port)
  })
  after(async () => {
    await judged?.close()
    await postgres?.close()
  })

  async function startBehindProxy(t: TestContext) {
    const proxy = await openProxy(postgres.port)
    t.after(() => proxy.close())
    const { judge, close } = await start(proxy.port)
    t.after(close)
    return { proxy, judge }
  }

  test('our backend is frozen: healthy, on a new session', async () => {
    let backend = 0
    await judged.judge({
      says: 'healthy',
      async begin() {
        backend = await backendOf(postgres.url)
        process.kill(backend, 'SIGSTOP')
      },
      end: () => process.kill(backend, 'SIGCONT'),
    })
  })

  test('our connection has stalled: healthy, on a new session', async t => {
    const { proxy, judge } = await startBehindProxy(t)
    await judge({ says: 'healthy', begin: proxy.stallOpen, end: proxy.flow })
    assert.equal(proxy.connections.length, 2)
  })

  test('packets are lost: connect_timeout', async t => {
    const network = findPacketLoss(t)
    if (!network) return
    let loss: Awaited<ReturnType<typeof network.lose>>
    await judged.judge({
      says: 'connect_timeout',
      async begin() {
        loss = await network.lose(postgres.port)
      },
      end: () => loss.stop(),
    })
  })

  test('a connect slower than the deadline: connect_timeout, then healthy, on one connection', async t => {
    const { proxy, judge } = await startBehindProxy(t)
    let before = 0
    await judge({
      says: 'connect_timeout',
      begin() {
        before = proxy.connections.length
        // Once for the login, and once for the query that warms the session.
        proxy.delay(timeoutMs * 0.6)
        proxy.reset()
      },
      during: once,
      end: () => proxy.delay(0),
    })
    assert.equal(proxy.connections.length - before, 1)
  })

  test('a login slower than the deadline: connect_timeout, then healthy', async () => {
    let from = 0
    await judged.judge({
      says: 'connect_timeout',
      async begin() {
        await terminate(postgres.url)
        await postgres.configure({ settings: { pre_auth_delay: '1', log_connections: 'on' } })
        from = postgres.log().length
      },
      during: once,
      end: () => postgres.configure({ settings: { pre_auth_delay: '0' } }),
    })
    assert.equal(
      postgres
        .log()
        .slice(from)
        .match(/connection received: host=127/g)?.length,
      1,
    )
  })
})

describe('a peer', () => {
  let peer: Peer
  let judged: Judged
  before(async () => {
    peer = await openPeer(honest)
    judged = await start(peer.port)
  })
  after(async () => {
    await judged?.close()
    await peer?.close()
  })

  const hangs: [what: string, says: 'connect_timeout' | 'timeout', scenario: Scenario][] = [
    ['accepts and is silent', 'connect_timeout', { startup: silence, statement: () => silence }],
    [
      'stops in the middle of the login',
      'connect_timeout',
      { startup: welcome.subarray(0, 9), statement: () => silence },
    ],
    ['is silent after the login', 'connect_timeout', { startup: welcome, statement: () => silence }],
    [
      'answers only the first query of a session',
      'timeout',
      { startup: welcome, statement: index => (index === 0 ? row('1') : silence) },
    ],
    [
      'stops in the middle of an answer',
      'timeout',
      { startup: welcome, statement: index => (index === 0 ? row('1') : row('1').subarray(0, 40)) },
    ],
    ['sends one byte every 100 ms', 'connect_timeout', { ...honest, byteEveryMs: 100 }],
  ]
  for (const [what, says, scenario] of hangs) {
    test(`that ${what}: ${says}`, () =>
      judged.judge({
        says,
        begin: () => peer.play(scenario),
        // One by one: a request that waits behind an unanswered check would wait for a new connection.
        ...(says === 'timeout' ? { during: async ({ ask }) => [await ask(), await ask()] } : {}),
        end: () => peer.play(honest),
      }))
  }

  test('that ignores one connection and would serve another: healthy once that attempt ends', async t => {
    const impatient = await start(peer.port, { HEALTH_CONNECT_TIMEOUT_MS: `${timeoutMs * 1.25}` })
    t.after(() => impatient.close())
    await impatient.judge({
      says: 'connect_timeout',
      begin: () => peer.play({ startup: silence, statement: () => silence }),
      during: once,
      end: () => peer.play(honest, 'keep'),
    })
  })
})
