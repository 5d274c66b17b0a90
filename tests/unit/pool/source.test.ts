// The promises of a check function, whatever its driver does.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { shutdownVerdict, type Verdict } from '../../../lib/health/verdict.ts'
import { createPoolSource, type HealthCheck, type PoolSourceOptions } from '../../../lib/pool/source.ts'

const checkMs = 1_000
/** How long after the start of an unhealthy check the next one may start. */
const spacingMs = 100

interface Call {
  readonly signal: AbortSignal
  readonly atMs: number
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

interface Timer {
  readonly dueAt: number
  readonly fire: () => void
}

/** A clock that the test controls, with the timers of the global object. */
function fakeClock(t: TestContext) {
  let time = 10_000.25
  let timers: Timer[] = []
  function set(fire: () => void, ms = 0) {
    const timer: Timer = { dueAt: time + ms, fire }
    timers.push(timer)
    return timer
  }
  function clear(timer: unknown) {
    timers = timers.filter(each => each !== timer)
  }
  for (const kind of ['Timeout', 'Immediate']) {
    t.mock.method(globalThis, `set${kind}` as 'setTimeout', set as unknown as typeof setTimeout)
    t.mock.method(globalThis, `clear${kind}` as 'clearTimeout', clear)
  }
  return { now: () => time, timers: () => timers.length, advance }

  /** Fires all that is due, one millisecond after the other. */
  async function advance(ms: number) {
    await settle()
    for (const until = time + ms; ; time += 1) {
      for (let due = first(); due; due = first()) {
        clear(due)
        due.fire()
        await settle()
      }
      if (time >= until) return
    }
  }

  function first() {
    return timers.find(({ dueAt }) => dueAt <= time)
  }
}

/** A source whose clock and whose check function the test controls. */
function stage(t: TestContext, options: Partial<PoolSourceOptions> = {}) {
  const { now, timers, advance } = fakeClock(t)
  const startedAt = now()
  const calls: Call[] = []
  const check: HealthCheck = signal =>
    new Promise((resolve, reject) => calls.push({ signal, atMs: now() - startedAt, resolve, reject }))
  const source = createPoolSource({ check, maxPending: 2, now, ...options })
  return { source, calls, run, advance, timers, timeOut, only, again }

  /** Runs a check, and tells what became of it so far. */
  function run() {
    const check: { verdict?: Verdict; atMs?: number } = {}
    source.check(now() + checkMs).then(verdict => Object.assign(check, { verdict, atMs: now() - startedAt }))
    return check
  }

  /** Runs a check to its deadline. */
  async function timeOut() {
    const check = run()
    await advance(checkMs)
    return check.verdict
  }

  /** Runs a check after an unhealthy one. With `maxPending` 1, it calls the function only if the last call has settled. */
  async function again() {
    const check = run()
    await advance(spacingMs)
    return check.verdict
  }

  /** Runs a check that ends without a timer. */
  async function only() {
    const check = run()
    await advance(0)
    return check.verdict
  }
}

/** Lets every promise that is settled call its callbacks. */
async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
}

const coded = (code: string) => Object.assign(new Error(code), { code })

test('check() is healthy when the function resolves, whatever the value, and tells how long that took', async t => {
  for (const value of [undefined, null, 0, '', [], { rows: [] }, true]) {
    const { calls, run, advance } = stage(t)
    const check = run()
    await advance(3)
    calls[0]?.resolve(value)
    await advance(0)
    assert.deepEqual(check.verdict, { result: 'healthy', by: 'check', queryMs: 3 })
    t.mock.restoreAll()
  }
})

test('check() is unhealthy when the function resolves with false', async t => {
  const { only } = stage(t, { check: async () => false })
  assert.equal((await only())?.result, 'bad_result')
})

test('check() with an expected value is healthy for that value alone', async t => {
  const table: [unknown, PoolSourceOptions['expect'], string][] = [
    [1, 1, 'healthy'],
    ['1', 1, 'bad_result'],
    [1n, 1, 'bad_result'],
    [undefined, 1, 'bad_result'],
    ['PONG', 'PONG', 'healthy'],
    [false, false, 'healthy'],
    [null, null, 'healthy'],
    [0, null, 'bad_result'],
  ]
  for (const [value, expect, result] of table) {
    const { only } = stage(t, { check: async () => value, ...(expect === undefined ? {} : { expect }) })
    assert.equal((await only())?.result, result, `${String(value)}, expected ${String(expect)}`)
    t.mock.restoreAll()
  }
})

test('check() is unhealthy when the function returns no promise: it may have forgotten its return', async t => {
  for (const value of [undefined, null, true, 1, {}]) {
    const { only, again } = stage(t, { check: (() => value) as unknown as HealthCheck, maxPending: 1 })
    const verdict = await only()
    assert.equal(verdict?.result, 'bad_result')
    assert.match(String(verdict?.error), /did not return a promise/)
    assert.equal((await again())?.result, 'bad_result')
    t.mock.restoreAll()
  }
})

test('check() gives the reason of a rejection, and the raw error for the log', async t => {
  const error = coded('ECONNREFUSED')
  const { only } = stage(t, { check: () => Promise.reject(error) })
  assert.deepEqual(await only(), { result: 'unreachable', by: 'check', queryMs: 0, error })
})

test('check() is unhealthy when the error cannot be read, and goes on with the next check', async t => {
  const error = Object.defineProperty(new Error('failed'), 'code', {
    get() {
      throw new Error('no code')
    },
  })
  const { only, again } = stage(t, { check: () => Promise.reject(error), maxPending: 1 })
  assert.equal((await only())?.result, 'unknown')
  assert.equal((await again())?.result, 'unknown')
})

test('check() treats what the function throws immediately like a rejection', async t => {
  const { only, again } = stage(t, {
    check: () => {
      throw coded('57P03')
    },
    maxPending: 1,
  })
  assert.equal((await only())?.result, 'starting_up')
  assert.equal((await again())?.result, 'starting_up')
})

test('check() takes any thenable, calls its then once, and takes its first settlement', async t => {
  let calls = 0
  const thenable = {
    // biome-ignore lint/suspicious/noThenProperty: this is how queries of drivers look.
    then(resolve: (value: unknown) => void, reject: (error: unknown) => void) {
      calls += 1
      resolve('first')
      reject(coded('ECONNREFUSED'))
      resolve(false)
      throw coded('ECONNREFUSED')
    },
  }
  const { only } = stage(t, { check: () => thenable as unknown as PromiseLike<unknown> })
  assert.equal((await only())?.result, 'healthy')
  assert.equal(calls, 1)
})

test('check() aborts the signal at its deadline, and times out although the function ignores it', async t => {
  const { calls, run, advance } = stage(t)
  const check = run()
  await advance(checkMs - 1)
  assert.equal(calls[0]?.signal.aborted, false)
  await advance(1)
  assert.equal(calls[0]?.signal.aborted, true)
  assert.deepEqual(check, {
    verdict: { result: 'timeout', by: 'check', queryMs: checkMs },
    atMs: checkMs,
  })
})

test('check() does not abort a signal after its function has settled', async t => {
  const { calls, run, advance, source } = stage(t)
  run()
  await advance(0)
  calls[0]?.resolve(1)
  await advance(2 * checkMs)
  source.stop()
  assert.equal(calls[0]?.signal.aborted, false)
})

test('check() uses the reason of a function that rejects on abort', async t => {
  let calls = 0
  const obedient = (error?: unknown): HealthCheck => {
    return signal => {
      calls += 1
      return new Promise<never>((_, reject) =>
        signal.addEventListener('abort', () => reject(error ?? signal.reason)),
      )
    }
  }
  const table: [unknown, string][] = [
    [coded('53300'), 'pool_exhausted'],
    [coded('ABORT_ERR'), 'timeout'],
    [undefined, 'timeout'],
  ]
  for (const [error, result] of table) {
    const { timeOut } = stage(t, { check: obedient(error), maxPending: 1 })
    calls = 0
    assert.equal((await timeOut())?.result, result, String(error))
    assert.equal((await timeOut())?.result, result, String(error))
    assert.equal(calls, 2, 'the first call has settled')
    t.mock.restoreAll()
  }
})

test('check() times out although the function resolves when its signal aborts', async t => {
  const check: HealthCheck = signal => new Promise(resolve => signal.addEventListener('abort', resolve))
  for (const expect of [undefined, 1]) {
    const { timeOut } = stage(t, { check, ...(expect === undefined ? {} : { expect }) })
    assert.equal((await timeOut())?.result, 'timeout')
    t.mock.restoreAll()
  }
  const waits = Object.assign(check, { timedOut: () => 'pool_exhausted' as const })
  const { timeOut } = stage(t, { check: waits })
  assert.equal((await timeOut())?.result, 'pool_exhausted')
})

test('check() asks the function what it waits for when the time is out, and timedOut() does, too', async t => {
  const check = Object.assign(() => new Promise<never>(() => {}), {
    timedOut: () => 'pool_exhausted' as const,
  })
  const { timeOut, source } = stage(t, { check })
  assert.equal((await timeOut())?.result, 'pool_exhausted')
  assert.deepEqual(source.timedOut(), { result: 'pool_exhausted', by: 'deadline' })
})

test('check() and timedOut() say timeout when the function gives no reason that is known', async t => {
  const fail = () => {
    throw new Error('no reason')
  }
  const table: unknown[] = [
    fail,
    false,
    'pool_exhausted',
    () => 'nonsense',
    () => 'toString',
    () => 7,
    () => null,
  ]
  for (const timedOut of table) {
    const check = Object.assign(() => new Promise<never>(() => {}), { timedOut }) as HealthCheck
    const { timeOut, source } = stage(t, { check })
    assert.deepEqual(source.timedOut(), { result: 'timeout', by: 'deadline' }, String(timedOut))
    assert.equal((await timeOut())?.result, 'timeout', String(timedOut))
    t.mock.restoreAll()
  }
})

test('timedOut() says timeout for a function that cannot tell', async t => {
  const { source } = stage(t)
  assert.deepEqual(source.timedOut(), { result: 'timeout', by: 'deadline' })
})

test('check() calls the function again while one call has not settled, and a late result changes nothing', async t => {
  const { calls, timeOut, run, advance } = stage(t)
  await timeOut()
  const check = run()
  await advance(0)
  assert.equal(calls.length, 2)
  calls[0]?.resolve('late')
  await advance(1)
  assert.deepEqual(check, {})
  calls[1]?.reject(coded('57P01'))
  await advance(0)
  assert.equal(check.verdict?.result, 'shutting_down')
})

test('check() calls the function no more while maxPending calls have not settled, and times out', async t => {
  for (const maxPending of [1, 2]) {
    const { calls, timeOut } = stage(t, { maxPending })
    for (let count = 0; count < 5; count += 1) assert.equal((await timeOut())?.result, 'timeout')
    assert.equal(calls.length, maxPending)
    t.mock.restoreAll()
  }
})

test('check() waits for one of the pending calls, then makes its own: its answer is fresh', async t => {
  const { calls, timeOut, run, advance } = stage(t)
  await timeOut()
  await timeOut()
  const check = run()
  await advance(400)
  assert.equal(calls.length, 2)
  calls[0]?.resolve('old')
  await advance(0)
  assert.equal(calls.length, 3)
  assert.deepEqual(check, {})
  calls[2]?.resolve('fresh')
  await advance(0)
  assert.deepEqual(check.verdict, { result: 'healthy', by: 'check', queryMs: 0 })
})

test('check() handles the rejection of a call that nothing waits for any more', async t => {
  const { calls, timeOut, run, advance } = stage(t, { maxPending: 1 })
  await timeOut()
  calls[0]?.reject(coded('ECONNRESET'))
  await advance(1)
  run()
  await advance(0)
  assert.equal(calls.length, 2)
})

test('check() waits until 100 ms after the start of an unhealthy check, and not after a healthy one', async t => {
  const { calls, run, advance } = stage(t)
  run()
  await advance(0)
  calls[0]?.reject(coded('ECONNREFUSED'))
  await advance(30)
  run()
  await advance(69)
  assert.equal(calls.length, 1)
  await advance(1)
  assert.equal(calls.length, 2)
  calls[1]?.resolve(1)
  await advance(0)
  run()
  await advance(0)
  assert.deepEqual(
    calls.map(({ atMs }) => atMs),
    [0, 100, 100],
  )
})

test('check() does not wait after an unhealthy check that took longer than 100 ms', async t => {
  const { calls, timeOut, run, advance } = stage(t)
  await timeOut()
  run()
  await advance(0)
  assert.equal(calls[1]?.atMs, checkMs)
})

test('stop() aborts the running check, and its verdict is the shutdown', async t => {
  const { calls, run, advance, source } = stage(t)
  const check = run()
  await advance(5)
  source.stop()
  await advance(0)
  assert.equal(calls[0]?.signal.aborted, true)
  assert.deepEqual(check, { verdict: shutdownVerdict, atMs: 5 })
})

test('stop() ends a check that waits for its turn, and no later check calls the function', async t => {
  const { calls, timeOut, run, advance, source } = stage(t)
  await timeOut()
  await timeOut()
  const waiting = run()
  await advance(5)
  source.stop()
  await advance(0)
  assert.equal(waiting.verdict, shutdownVerdict)
  calls[0]?.resolve(1)
  const later = run()
  await advance(0)
  assert.equal(later.verdict, shutdownVerdict)
  assert.equal(calls.length, 2)
})

test('createPoolSource() keeps no timer after 1,000 checks of a function that never settles', async t => {
  const { calls, source, advance, timers } = stage(t)
  for (let count = 0; count < 1_000; count += 1) {
    const checked = source.check(10_000.25 + count + 1)
    await advance(1)
    assert.equal((await checked).result, 'timeout')
  }
  assert.equal(calls.length, 2)
  assert.equal(timers(), 0)
})
