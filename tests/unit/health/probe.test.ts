// Fresh, one at a time, in time: the promises of a check.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import { createProbe, type Probe } from '../../../lib/health/probe.ts'

const timeoutMs = 1_000
/** An answer must still be written when the time is up, so it is decided before. */
const decidedMs = 995
/** The check ends before that, so that its own verdict comes first. */
const askedMs = 993

interface Ask {
  readonly until: number
  answer(verdict: string): void
}

const neverCalled = (fault: unknown) => assert.fail(String(fault))

/** A probe whose clock and whose asks the test holds in its hand. */
function stage(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] })
  let time = 10_000.25
  const begun = time
  const asks: Ask[] = []
  const answers: Record<string, { verdict: string; waitMs: number; atMs: number }> = {}
  let expiries = 0
  const probe = createProbe<string>({
    ask: until => new Promise(answer => asks.push({ until: until - begun, answer })),
    expired() {
      expiries += 1
      return 'expired'
    },
    now: () => time,
    timeoutMs,
  })
  return { probe, asks, answers, expiries: () => expiries, request, advance, answer }

  function request(name: string) {
    probe.check((verdict, waitMs) => {
      answers[name] = { verdict, waitMs, atMs: time - begun }
    }, neverCalled)
  }

  /** Lets milliseconds go by, one by one. */
  async function advance(ms: number) {
    for (let passed = 0; passed < ms; passed += 1) {
      time += 1
      t.mock.timers.tick(1)
      t.mock.timers.tick(0)
      await settle()
    }
  }

  async function answer(index: number, verdict: string) {
    asks[index]?.answer(verdict)
    await settle()
  }
}

function verdictOf(probe: Probe<string>): Promise<string> {
  return new Promise((resolve, reject) => probe.check(resolve, reject))
}

/** Until every promise that is settled has told everyone. */
async function settle() {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
}

test('check() begins at once when nothing runs, and gives the verdict with the wait: none', async t => {
  const { asks, answers, request, advance, answer } = stage(t)
  request('a')
  assert.equal(asks.length, 1)
  await advance(7)
  await answer(0, 'healthy')
  assert.deepEqual(answers, { a: { verdict: 'healthy', waitMs: 0, atMs: 7 } })
})

test('check() joins the next check and never the running one: an answer is fresh', async t => {
  const { asks, answers, request, advance, answer } = stage(t)
  request('a')
  await advance(3)
  request('b')
  await advance(4)
  await answer(0, 'old')
  assert.deepEqual(Object.keys(answers), ['a'])
  assert.equal(asks.length, 2)
  await advance(2)
  await answer(1, 'fresh')
  assert.deepEqual(answers['b'], { verdict: 'fresh', waitMs: 4, atMs: 9 })
})

test('check() asks again before it tells the last answers: the statement is on its way meanwhile', async () => {
  const order: string[] = []
  const probe = createProbe<string>({
    ask: async () => String(order.push('asked')),
    expired: () => 'expired',
    now: () => 0,
    timeoutMs,
  })
  probe.check(() => order.push('told'), neverCalled)
  await new Promise(resolve => probe.check(resolve, neverCalled))
  assert.deepEqual(order, ['asked', 'asked', 'told'])
})

test('check() tells each how long it waited for its own check, also while the next one has others', async t => {
  const { answers, request, advance, answer } = stage(t)
  request('a')
  await advance(3)
  request('b')
  await advance(4)
  await answer(0, 'first')
  await advance(2)
  request('c')
  await answer(1, 'second')
  await answer(2, 'third')
  assert.deepEqual(
    Object.values(answers).map(({ waitMs }) => waitMs),
    [0, 4, 0],
  )
})

test('check() asks one at a time: a hundred concurrent requests cost two asks', async t => {
  const { asks, answers, request, answer } = stage(t)
  for (let name = 0; name < 100; name += 1) request(`${name}`)
  assert.equal(asks.length, 1)
  await answer(0, 'first')
  assert.equal(asks.length, 2)
  await answer(1, 'second')
  assert.equal(asks.length, 2)
  const verdicts = Object.values(answers).map(({ verdict }) => verdict)
  assert.deepEqual(verdicts, ['first', ...Array(99).fill('second')])
})

test("check() gives a check the time of its last request, and each request its own deadline's answer", async t => {
  const { asks, answers, request, advance, answer } = stage(t)
  request('running')
  await advance(10)
  request('b')
  await advance(10)
  request('c')
  await advance(10)
  await answer(0, 'first')
  assert.equal(asks[0]?.until, askedMs)
  assert.equal(asks[1]?.until, 20 + askedMs)
  await advance(10 + decidedMs - 30 - 1)
  assert.deepEqual(Object.keys(answers), ['running'])
  await advance(1)
  assert.deepEqual(answers['b'], { verdict: 'expired', waitMs: 20, atMs: 10 + decidedMs })
  assert.deepEqual(Object.keys(answers), ['running', 'b'])
  await advance(9)
  await answer(1, 'late, but in time for one')
  assert.deepEqual(answers['c'], { verdict: 'late, but in time for one', waitMs: 10, atMs: 1014 })
  assert.equal(answers['b']?.verdict, 'expired')
})

test('check() asks for one verdict for all whose time is up while a check goes on, be it theirs or the next', async t => {
  const { answers, expiries, request, advance, answer } = stage(t)
  request('running')
  await advance(10)
  request('b')
  await answer(0, 'first')
  for (const name of ['c', 'd']) {
    await advance(10)
    request(name)
  }
  await advance(decidedMs)
  assert.deepEqual(
    Object.values(answers).map(({ verdict }) => verdict),
    ['first', 'expired', 'expired', 'expired'],
  )
  assert.equal(expiries(), 1)
  await answer(1, 'late')
  request('e')
  await advance(decidedMs)
  assert.equal(answers['e']?.verdict, 'expired')
  assert.equal(expiries(), 2, 'the next check has its own')
})

test('check() answers in time, and those that come later too, when an ask never settles', async t => {
  const { asks, answers, request, advance } = stage(t)
  request('a')
  await advance(400)
  request('b')
  await advance(400)
  request('c')
  await advance(800)
  // Whoever comes when nobody is left waiting has a deadline, too.
  await advance(400)
  request('d')
  await advance(decidedMs)
  const at = Object.fromEntries(Object.entries(answers).map(([name, { atMs }]) => [name, atMs]))
  assert.deepEqual(at, { a: 995, b: 1395, c: 1795, d: 2995 })
  assert.ok(Object.values(answers).every(({ verdict }) => verdict === 'expired'))
  assert.equal(asks.length, 1)
})

test('check() asks anew after an ask that settled too late, and nobody who waits now gets that verdict', async t => {
  const { asks, answers, request, advance, answer } = stage(t)
  request('a')
  await advance(2_000)
  request('b')
  await answer(0, 'stale')
  assert.equal(asks.length, 2)
  await answer(1, 'fresh')
  assert.equal(answers['a']?.verdict, 'expired')
  assert.equal(answers['b']?.verdict, 'fresh')
})

test('check() does not begin a check for those alone who have been answered already', async t => {
  const { asks, answers, request, advance, answer } = stage(t)
  request('a')
  request('b')
  await advance(2_000)
  await answer(0, 'late')
  assert.deepEqual(Object.keys(answers), ['a', 'b'])
  assert.equal(asks.length, 1)
})

test('check() lets a verdict that lies in the socket when a stalled event loop wakes beat the deadline', async t => {
  const [ours, theirs] = await connectedPair(t)
  const probe = createProbe<string>({
    ask: async () => String(await once(ours, 'data')),
    expired: () => 'expired',
    now: () => performance.now(),
    timeoutMs: 30,
  })
  const answer = verdictOf(probe)
  theirs.write('healthy')
  const until = performance.now() + 60
  while (performance.now() < until);
  assert.equal(await answer, 'healthy')
})

test('check() rejects as its check does, and the next check is none the worse', async () => {
  const results = [Promise.reject(new Error('ours')), Promise.resolve('healthy')]
  const ask = () => results.shift() as Promise<string>
  const probe = createProbe({ ask, expired: () => 'expired', now: () => performance.now(), timeoutMs })
  await assert.rejects(verdictOf(probe), { message: 'ours' })
  assert.equal(await verdictOf(probe), 'healthy')
})

test('stop() answers all who wait and all who come, and asks no more', async t => {
  const { probe, asks, answers, request, advance, answer } = stage(t)
  request('running')
  await advance(5)
  request('next')
  probe.stop('stopping')
  request('late')
  await advance(1)
  assert.deepEqual(answers['running'], { verdict: 'stopping', waitMs: 0, atMs: 5 })
  assert.deepEqual(answers['next'], { verdict: 'stopping', waitMs: 0, atMs: 5 })
  assert.deepEqual(answers['late'], { verdict: 'stopping', waitMs: 0, atMs: 5 })
  await answer(0, 'too late')
  request('later')
  await settle()
  assert.equal(asks.length, 1)
  assert.equal(answers['running']?.verdict, 'stopping')
  assert.equal(answers['later']?.verdict, 'stopping')
})

test('createProbe() keeps a timer while somebody waits, and none when nobody does', async () => {
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const idle = timers()
  const asks: ((verdict: string) => void)[] = []
  const probe = createProbe<string>({
    ask: () => new Promise(answer => asks.push(answer)),
    expired: () => 'expired',
    now: () => performance.now(),
    timeoutMs: 60_000,
  })
  const waiting: Promise<string>[] = []
  assert.equal(timers(), idle, 'made')

  waiting.push(verdictOf(probe), verdictOf(probe), verdictOf(probe))
  assert.equal(timers(), idle + 1, 'three wait')
  asks[0]?.('healthy')
  await waiting[0]
  assert.equal(timers(), idle + 1, 'two wait')
  asks[1]?.('healthy')
  await Promise.all(waiting)
  assert.equal(timers(), idle, 'all are answered')

  waiting.push(verdictOf(probe), verdictOf(probe))
  assert.equal(timers(), idle + 1, 'two wait again')
  probe.stop('stopping')
  await Promise.all(waiting)
  assert.equal(timers(), idle, 'stopped')
})

test('createProbe() keeps no timer for an ask that never settles, once all are answered', async () => {
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const idle = timers()
  const probe: Probe<string> = createProbe<string>({
    ask: () => new Promise(() => {}),
    expired: () => 'expired',
    now: () => performance.now(),
    timeoutMs: 10,
  })
  assert.deepEqual(await Promise.all([verdictOf(probe), verdictOf(probe)]), ['expired', 'expired'])
  assert.equal(timers(), idle)
})

/** Two ends of one real connection. */
async function connectedPair(t: TestContext): Promise<[net.Socket, net.Socket]> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const ours = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
  const [[theirs]] = await Promise.all([once(server, 'connection'), once(ours, 'connect')])
  t.after(() => {
    ours.destroy()
    theirs.destroy()
    server.close()
  })
  return [ours, theirs]
}
