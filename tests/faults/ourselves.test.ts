// Faults on our own side: stalls, clocks that jump, readers of the output that stall or exit.
import assert from 'node:assert/strict'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { type Caller, type JudgedStart, startJudged } from '../support/judge.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy } from '../support/proxy.ts'
import { ask } from '../support/server.ts'

const nothing = () => {}

describe('our own side', () => {
  let postgres: Postgres
  before(async () => {
    postgres = await openPostgres()
  })
  after(() => postgres?.close())

  async function start(t: TestContext, settings: Record<string, string> = {}, more: JudgedStart = {}) {
    const proxy = await openProxy(postgres.port)
    t.after(() => proxy.close())
    const url = `postgres://postgres:geheim@127.0.0.1:${proxy.port}/postgres`
    const judged = await startJudged({ DATABASE_URL: url, ...settings }, more)
    t.after(() => judged.close())
    return { proxy, ...judged }
  }

  test('stopped past the deadline while the answer is in the socket: healthy, no false alarm', async t => {
    const timeoutMs = 600
    const { server, proxy, judge } = await start(t, { HEALTH_TIMEOUT_MS: `${timeoutMs}` })
    const stalledMs = timeoutMs * 1.5
    await judge({
      says: 'healthy',
      // Delays PostgreSQL's answer until the program has been stopped.
      begin: () => proxy.delay(200),
      async during({ ask, underWay }: Caller) {
        const asked = ask()
        await underWay()
        server.child.kill('SIGSTOP')
        await pause(stalledMs)
        server.child.kill('SIGCONT')
        const answer = await asked
        assert.ok(answer.answeredAt - answer.sentAt >= timeoutMs, 'the deadline has passed')
        return [answer]
      },
      end: () => proxy.delay(0),
      heldMs: stalledMs,
    })
    assert.equal(proxy.connections.length, 1)
    assert.equal(server.events().filter(({ event }) => event === 'unhealthy').length, 0)
  })

  test('stopped while idle, for longer than the maximum age of a session: healthy', async t => {
    const { server, judge } = await start(t, { HEALTH_SESSION_MAX_AGE_MS: '1000' })
    await judge({
      says: 'healthy',
      async begin() {
        server.child.kill('SIGSTOP')
        await pause(1_100)
      },
      async during({ ask }: Caller) {
        const asked = ask()
        server.child.kill('SIGCONT')
        return [await asked]
      },
      end: nothing,
    })
  })

  /** On SIGUSR2 the wall clock is a day ahead, or a day behind, in turn. */
  const jumpingClock = `
    const RealDate = Date
    let jumpMs = 0
    globalThis.Date = class extends RealDate {
      constructor(...args) {
        super(...(args.length === 0 ? [RealDate.now() + jumpMs] : args))
      }
      static now() {
        return RealDate.now() + jumpMs
      }
    }
    process.on('SIGUSR2', () => (jumpMs = jumpMs > 0 ? -86400000 : 86400000))
  `
  test('the wall clock jumps by days, between checks and during one: only monotonic time counts', async t => {
    const { server, proxy, judge } = await start(t, { HEALTH_TIMEOUT_MS: '600' }, { preload: jumpingClock })
    const jump = () => server.child.kill('SIGUSR2')
    await judge({
      says: 'healthy',
      begin: () => proxy.delay(100),
      async during({ ask, underWay }: Caller) {
        const answers = []
        for (let jumps = 0; jumps < 4; jumps += 1) {
          const asked = ask()
          await underWay()
          jump()
          answers.push(await asked, await ask())
        }
        return answers
      },
      end: () => proxy.delay(0),
    })
    assert.equal(proxy.connections.length, 1, 'no session has aged')
    // The clock did jump.
    await postgres.stop()
    jump()
    await ask(`${server.origin}/health`)
    const { time } = await server.event('unhealthy')
    assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) > 80_000_000, String(time))
    await postgres.start()
  })

  for (const closed of [['stdout'], ['stderr'], ['stdout', 'stderr']] as const) {
    test(`${closed.join(' and ')} closed while there is something to log: the answers continue`, async t => {
      const { server, judge } = await start(t)
      for (const name of closed) server.child[name]?.destroy()
      await judge({
        says: 'connection_lost',
        begin: () => postgres.stop(),
        end: () => postgres.start(),
      })
    })
  }

  /** On SIGUSR2 ten thousand rejections are unhandled, each of which is a line in the log. */
  const lines = 10_000
  const garrulous = `
    process.on('SIGUSR2', () => {
      for (let line = 0; line < ${lines}; line += 1) Promise.reject(new Error('ours'))
    })
  `
  test('the reader of stdout stalls: memory does not grow, and the log counts the dropped lines', async t => {
    const nodeOptions = ['--expose-gc']
    // They take seconds on a busy machine: no deadline may pass, and nothing else be logged, in that time.
    const patient = { HEALTH_TIMEOUT_MS: '30000', HEALTH_SLOW_MS: '60000' }
    const { server, judge, witness } = await start(t, patient, { preload: garrulous, nodeOptions })
    const { stdout } = server.child
    await judge({ says: 'healthy', begin: nothing, end: nothing })
    const before = (await witness()).memory
    const logged = server.events().length

    stdout?.pause()
    server.child.kill('SIGUSR2')
    // After three answers all lines have been written or dropped.
    for (let turn = 0; turn < 3; turn += 1) {
      assert.equal((await ask(`${server.origin}/health`)).status, 200)
    }
    const grown = (await witness()).memory - before
    // Ten thousand lines are 8 MB. A heap after garbage collection varies by 1 MB.
    assert.ok(grown < 2_000_000, `${grown} bytes more`)

    stdout?.resume()
    await postgres.stop()
    await ask(`${server.origin}/health`)
    const { dropped } = await server.event('unhealthy')
    const written = server.events().length - logged - 1
    assert.ok(written < lines / 2, 'most were dropped')
    assert.equal(Number(dropped) + written, lines)
    await postgres.start()
    assert.equal((await ask(`${server.origin}/health`)).status, 200)
  })
})
