// The promises of a check: fresh, one at a time, in time.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import type { Phase } from '../../../lib/health/phase.ts'
import { type Answer, createProbe, type Probe } from '../../../lib/health/probe.ts'
import type { Question } from '../../../lib/health/role.ts'
import type { Verdict } from '../../../lib/health/verdict.ts'

const timeoutMs = 1_000
/** There must be time to write the response, so a request is decided before its deadline. */
const decidedMs = 995
/** The check itself times out before that, so that its own verdict comes first. */
const checkMs = 993

interface RunningCheck {
  readonly until: number
  readonly question: Question
  /** Says what SELECT 1 found, while the check goes on. */
  tell(name: string): void
  end(name: string): void
}

/** A verdict that the test can tell from others. */
const verdictOf = (name: string): Verdict => ({ result: 'healthy', by: 'check', error: name })
const nameOf = ({ error, by }: Verdict) => (by === 'shutdown' ? 'shutdown' : String(error))
const timedOut = () => verdictOf('timed out')
const neverFails = (error: unknown) => assert.fail(String(error))
const now = () => performance.now()

/** A probe whose clock and whose checks the test controls. */
function stage(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] })
  let time = 10_000.25
  const startedAt = time
  const checks: RunningCheck[] = []
  const answers: Record<string, { verdict: string; waitMs: number; atMs: number }> = {}
  let timeouts = 0
  let phase: Phase = 'serving'
  const probe = createProbe({
    runCheck: (until, question, onHealthy) =>
      new Promise(resolve =>
        checks.push({
          until: until - startedAt,
          question,
          tell: name => onHealthy(verdictOf(name)),
          end: name => resolve(verdictOf(name)),
        }),
      ),
    timedOut() {
      timeouts += 1
      return timedOut()
    },
    phase: () => phase,
    now: () => time,
    timeoutMs,
  })
  return { checks, answers, timeouts: () => timeouts, request, advance, end, shutDown }

  function request(name: string, question?: Question) {
    const answer: Answer = (verdict, waitMs) => {
      assert.equal(answers[name], undefined, 'answered twice')
      answers[name] = { verdict: nameOf(verdict), waitMs, atMs: time - startedAt }
    }
    probe.check(answer, neverFails, question)
  }

  /** Advances the clock, one millisecond at a time. */
  async function advance(ms: number) {
    for (let passed = 0; passed < ms; passed += 1) {
      time += 1
      t.mock.timers.tick(1)
      t.mock.timers.tick(0)
      await settle()
    }
  }

  async function end(index: number, name: string) {
    checks[index]?.end(name)
    await settle()
  }

  function shutDown() {
    phase = 'draining'
    probe.stop()
  }
}

function answerOf(probe: Probe): Promise<string> {
  return new Promise((resolve, reject) => probe.check(verdict => resolve(nameOf(verdict)), reject))
}

/** Lets every promise that is settled call its callbacks. */
async function settle() {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
}

test('check() starts immediately when no check runs, and answers with its verdict', async t => {
  const { checks, answers, request, advance, end } = stage(t)
  request('a')
  assert.equal(checks.length, 1)
  await advance(7)
  await end(0, 'healthy')
  assert.deepEqual(answers, { a: { verdict: 'healthy', waitMs: 0, atMs: 7 } })
})

test('check() joins the next check and never the running one, so a verdict is fresh', async t => {
  const { checks, answers, request, advance, end } = stage(t)
  request('a')
  await advance(3)
  request('b')
  await advance(4)
  await end(0, 'old')
  assert.deepEqual(Object.keys(answers), ['a'])
  assert.equal(checks.length, 2)
  await advance(2)
  await end(1, 'fresh')
  assert.deepEqual(answers['b'], { verdict: 'fresh', waitMs: 4, atMs: 9 })
})

test('check() asks what the deepest question of its requests needs, and no more', async t => {
  const { checks, request, end } = stage(t)
  request('a')
  for (const question of ['health', 'lag', 'role'] as const) request(`for ${question}`, question)
  await end(0, 'first')
  request('c', 'role')
  await end(1, 'second')
  request('d')
  await end(2, 'third')
  assert.deepEqual(
    checks.map(({ question }) => question),
    ['health', 'lag', 'role', 'health'],
  )
})

test('check() does not ask the question of a request that timed out while its check was pending', async t => {
  const { checks, answers, request, advance, end } = stage(t)
  request('running')
  await advance(100)
  request('lag', 'lag')
  // A check that settles late: the request for the lag times out while its own check is pending.
  await advance(decidedMs)
  assert.equal(answers['lag']?.verdict, 'timed out')
  request('health')
  await end(0, 'late')
  assert.deepEqual(
    checks.map(({ question }) => question),
    ['health', 'health'],
  )
  await end(1, 'fresh')
  assert.equal(answers['health']?.verdict, 'fresh')
})

test('check() answers health requests as soon as SELECT 1 returns, each once', async t => {
  const { checks, answers, request, advance, end } = stage(t)
  request('running')
  for (const question of ['health', 'role', 'lag'] as const) request(question, question)
  await end(0, 'first')
  await advance(3)
  request('later')
  checks[1]?.tell('connected')
  assert.deepEqual(Object.keys(answers), ['running', 'health'])
  assert.deepEqual(answers['health'], { verdict: 'connected', waitMs: 0, atMs: 3 })
  await advance(4)
  await end(1, 'with the role')
  assert.deepEqual(answers['role'], { verdict: 'with the role', waitMs: 0, atMs: 7 })
  assert.deepEqual(answers['lag'], answers['role'])
  assert.equal('later' in answers, false)
  await end(2, 'fresh')
  assert.equal(answers['later']?.verdict, 'fresh')
})

test('check() lets a request for the role keep its own deadline', async t => {
  const { checks, answers, request, advance, end } = stage(t)
  request('running')
  await advance(100)
  request('role', 'role')
  await advance(100)
  request('health')
  await end(0, 'first')
  checks[1]?.tell('connected')
  await advance(900)
  assert.deepEqual(answers['role'], { verdict: 'timed out', waitMs: 100, atMs: 100 + decidedMs })
  await end(1, 'too late')
})

test('check() answers the requests of a check before it starts the next one', async () => {
  const order: string[] = []
  const probe = createProbe({
    runCheck: async () => {
      order.push('check')
      return verdictOf('healthy')
    },
    timedOut,
    phase: () => 'serving',
    now: () => 0,
    timeoutMs,
  })
  probe.check(() => order.push('answer'), neverFails)
  await answerOf(probe)
  assert.deepEqual(order, ['check', 'answer', 'check'])
})

test('check() gives a request that arrives while answers are written the next check', async () => {
  const order: string[] = []
  const probe = createProbe({
    runCheck: async () => verdictOf(`check ${order.push('check')}`),
    timedOut,
    phase: () => 'serving',
    now: () => 0,
    timeoutMs,
  })
  const later = await new Promise<string>(resolve =>
    probe.check(() => probe.check(verdict => resolve(nameOf(verdict)), neverFails), neverFails),
  )
  assert.equal(later, 'check 2')
})

test('check() reports how long each request waited for its own check', async t => {
  const { answers, request, advance, end } = stage(t)
  request('a')
  await advance(3)
  request('b')
  await advance(4)
  await end(0, 'first')
  await advance(2)
  request('c')
  await end(1, 'second')
  await end(2, 'third')
  assert.deepEqual(
    Object.values(answers).map(({ waitMs }) => waitMs),
    [0, 4, 0],
  )
})

test('check() runs one check at a time: a hundred concurrent requests cost two', async t => {
  const { checks, answers, request, end } = stage(t)
  for (let name = 0; name < 100; name += 1) request(`${name}`)
  assert.equal(checks.length, 1)
  await end(0, 'first')
  assert.equal(checks.length, 2)
  await end(1, 'second')
  assert.equal(checks.length, 2)
  const verdicts = Object.values(answers).map(({ verdict }) => verdict)
  assert.deepEqual(verdicts, ['first', ...Array(99).fill('second')])
})

test("check() gives a check its last request's deadline, and answers each request by its own", async t => {
  const { checks, answers, request, advance, end } = stage(t)
  request('running')
  await advance(10)
  request('b')
  await advance(10)
  request('c')
  await advance(10)
  await end(0, 'first')
  assert.equal(checks[0]?.until, checkMs)
  assert.equal(checks[1]?.until, 20 + checkMs)
  await advance(10 + decidedMs - 30 - 1)
  assert.deepEqual(Object.keys(answers), ['running'])
  await advance(1)
  assert.deepEqual(answers['b'], { verdict: 'timed out', waitMs: 20, atMs: 10 + decidedMs })
  assert.deepEqual(Object.keys(answers), ['running', 'b'])
  await advance(9)
  await end(1, 'late, but in time for one')
  assert.deepEqual(answers['c'], { verdict: 'late, but in time for one', waitMs: 10, atMs: 1014 })
  assert.equal(answers['b']?.verdict, 'timed out')
})

test('check() gives the same verdict to every request that times out during a check', async t => {
  const { answers, timeouts, request, advance, end } = stage(t)
  request('running')
  await advance(10)
  request('b')
  await end(0, 'first')
  for (const name of ['c', 'd']) {
    await advance(10)
    request(name)
  }
  await advance(decidedMs)
  assert.deepEqual(
    Object.values(answers).map(({ verdict }) => verdict),
    ['first', 'timed out', 'timed out', 'timed out'],
  )
  assert.equal(timeouts(), 1)
  await end(1, 'late')
  request('e')
  await advance(decidedMs)
  assert.equal(answers['e']?.verdict, 'timed out')
  assert.equal(timeouts(), 2, 'the next check has its own')
})

test('check() answers every request in time when a check never ends', async t => {
  const { checks, answers, request, advance } = stage(t)
  request('a')
  await advance(400)
  request('b')
  await advance(400)
  request('c')
  await advance(800)
  // A request that arrives when no other is waiting has a deadline, too.
  await advance(400)
  request('d')
  await advance(decidedMs)
  const at = Object.fromEntries(Object.entries(answers).map(([name, { atMs }]) => [name, atMs]))
  assert.deepEqual(at, { a: 995, b: 1395, c: 1795, d: 2995 })
  assert.ok(Object.values(answers).every(({ verdict }) => verdict === 'timed out'))
  assert.equal(checks.length, 1)
})

test('check() gives the verdict of a check that ended too late to no request', async t => {
  const { checks, answers, request, advance, end } = stage(t)
  request('a')
  await advance(2_000)
  request('b')
  await end(0, 'stale')
  assert.equal(checks.length, 2)
  await end(1, 'fresh')
  assert.equal(answers['a']?.verdict, 'timed out')
  assert.equal(answers['b']?.verdict, 'fresh')
})

test('check() starts no check for requests that have all timed out', async t => {
  const { checks, answers, request, advance, end } = stage(t)
  request('a')
  request('b')
  await advance(2_000)
  await end(0, 'late')
  assert.deepEqual(Object.keys(answers), ['a', 'b'])
  assert.equal(checks.length, 1)
})

test('check() prefers a result in the socket buffer to the deadline after a blocked event loop', async t => {
  const [ours, theirs] = await connectedPair(t)
  const probe = createProbe({
    runCheck: async () => verdictOf(String(await once(ours, 'data'))),
    timedOut,
    phase: () => 'serving',
    now,
    timeoutMs: 30,
  })
  const answer = answerOf(probe)
  theirs.write('healthy')
  const until = now() + 60
  while (now() < until);
  assert.equal(await answer, 'healthy')
})

test('check() fails if its check rejects, and the next check runs as usual', async () => {
  const results = [Promise.reject(new Error('ours')), Promise.resolve(verdictOf('healthy'))]
  const runCheck = () => results.shift() as Promise<Verdict>
  const probe = createProbe({ runCheck, timedOut, phase: () => 'serving', now, timeoutMs })
  await assert.rejects(answerOf(probe), { message: 'ours' })
  assert.equal(await answerOf(probe), 'healthy')
})

test('check() answers the others, and starts the next check, if a request throws at its answer', async () => {
  const throwing = () => {
    throw new Error('of one request')
  }
  for (const runCheck of [async () => verdictOf('healthy'), () => Promise.reject(new Error('ours'))]) {
    const probe = createProbe({ runCheck, timedOut, phase: () => 'serving', now, timeoutMs })
    probe.check(throwing, throwing)
    probe.check(throwing, throwing)
    const outcomes = await Promise.allSettled([answerOf(probe), answerOf(probe)])
    const last = await Promise.allSettled([answerOf(probe)])
    const statuses = [...outcomes, ...last].map(({ status }) => status)
    assert.equal(new Set(statuses).size, 1, statuses.join())
  }
})

test('check() answers the others at their deadline and at stop(), if a request throws at its answer', async () => {
  const throwing = () => {
    throw new Error('of one request')
  }
  let phase: Phase = 'serving'
  const runCheck = () => new Promise<Verdict>(() => {})
  const probe = createProbe({ runCheck, timedOut, phase: () => phase, now, timeoutMs: 10 })
  probe.check(throwing, throwing)
  probe.check(throwing, throwing)
  assert.equal(await answerOf(probe), 'timed out')
  probe.check(throwing, throwing)
  const waiting = answerOf(probe)
  phase = 'draining'
  probe.stop()
  assert.equal(await waiting, 'shutdown')
})

test('stop() answers all waiting and all later requests, and starts no further check', async t => {
  const { checks, answers, request, advance, end, shutDown } = stage(t)
  request('running')
  await advance(5)
  request('pending')
  shutDown()
  request('later')
  await advance(1)
  for (const name of ['running', 'pending', 'later']) {
    assert.deepEqual(answers[name], { verdict: 'shutdown', waitMs: 0, atMs: 5 }, name)
  }
  await end(0, 'too late')
  request('last')
  await settle()
  assert.equal(checks.length, 1)
  assert.equal(answers['running']?.verdict, 'shutdown')
  assert.equal(answers['last']?.verdict, 'shutdown')
})

const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length

test('createProbe() keeps one timer while requests wait, and none when no request waits', async () => {
  const idle = timers()
  const checks: ((verdict: Verdict) => void)[] = []
  let phase: Phase = 'serving'
  const probe = createProbe({
    runCheck: () => new Promise(resolve => checks.push(resolve)),
    timedOut,
    phase: () => phase,
    now,
    timeoutMs: 60_000,
  })
  const waiting: Promise<string>[] = []
  assert.equal(timers(), idle, 'made')

  waiting.push(answerOf(probe), answerOf(probe), answerOf(probe))
  assert.equal(timers(), idle + 1, 'three wait')
  checks[0]?.(verdictOf('healthy'))
  await waiting[0]
  await settle()
  assert.equal(timers(), idle + 1, 'two wait')
  checks[1]?.(verdictOf('healthy'))
  await Promise.all(waiting)
  await settle()
  assert.equal(timers(), idle, 'all are answered')

  waiting.push(answerOf(probe), answerOf(probe))
  assert.equal(timers(), idle + 1, 'two wait again')
  phase = 'draining'
  probe.stop()
  await Promise.all(waiting)
  assert.equal(timers(), idle, 'stopped')
})

test('createProbe() keeps no timer for a check that never ends, once all requests are answered', async () => {
  const idle = timers()
  const runCheck = () => new Promise<Verdict>(() => {})
  const probe = createProbe({ runCheck, timedOut, phase: () => 'serving', now, timeoutMs: 10 })
  assert.deepEqual(await Promise.all([answerOf(probe), answerOf(probe)]), ['timed out', 'timed out'])
  assert.equal(timers(), idle)
})

test('check() fails the requests whose deadline has passed if timedOut() throws, and nothing escapes', async () => {
  const error = new Error('thrown by onVerdict')
  const probe = createProbe({
    runCheck: () => new Promise<Verdict>(() => {}),
    timedOut() {
      throw error
    },
    phase: () => 'serving',
    now,
    timeoutMs: 10,
  })
  const failed = { status: 'rejected', reason: error }
  // The first is with the check that runs, the others are pending.
  const waiting = [answerOf(probe), answerOf(probe), answerOf(probe)]
  assert.deepEqual(await Promise.allSettled(waiting), [failed, failed, failed])
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
