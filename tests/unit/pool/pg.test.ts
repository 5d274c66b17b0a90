// How pgPool takes connections from a pool, and how it gives them back.
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { type PgPool, pgPool } from '../../../lib/pool/pg.ts'
import { GaveUp } from '../../../lib/pool/reason.ts'

type Result = { readonly rows: readonly unknown[] }

/** A client of the pool: the test answers its query, and sees how it was released. */
class FakeClient extends EventEmitter {
  readonly releases: (Error | boolean | undefined)[] = []
  readonly queries: string[] = []
  answer: (result: Result) => void = () => {}
  fail: (error: Error) => void = () => {}

  query(text: string): Promise<Result> {
    this.queries.push(text)
    return new Promise((resolve, reject) => {
      this.answer = resolve
      this.fail = reject
    })
  }

  release(error?: Error | boolean) {
    this.releases.push(error)
  }
}

interface Request {
  readonly connectTimeoutMs: number | undefined
  readonly give: (client: FakeClient) => void
  readonly refuse: (error: unknown) => void
}

/** A pool whose counts the test sets, and whose connections it gives. */
function openFakePool(counts: Partial<PgPool> = {}) {
  const requests: Request[] = []
  const pool = {
    totalCount: 0,
    idleCount: 0,
    waitingCount: 0,
    ending: false,
    options: { max: 3 } as PgPool['options'],
    connect(done: (error: unknown, client?: FakeClient) => void) {
      const connectTimeoutMs = pool.options.connectionTimeoutMillis
      requests.push({ connectTimeoutMs, give: client => done(undefined, client), refuse: done })
    },
    ...counts,
  }
  const check = pgPool(pool as PgPool)
  return { pool, requests, check, run, request }

  function run() {
    const controller = new AbortController()
    const run: { outcome?: unknown; abort: () => void } = {
      abort: () => controller.abort(new GaveUp('timeout')),
    }
    check(controller.signal).then(
      outcome => Object.assign(run, { outcome }),
      error => Object.assign(run, { outcome: error instanceof GaveUp ? error.reason : error }),
    )
    return run
  }

  function request(index: number): Request {
    return requests[index] ?? assert.fail(`no request ${index}`)
  }
}

const full = { totalCount: 3, idleCount: 0 }
const one = { rows: [{ '?column?': 1 }] }

/** Lets every promise that is settled call its callbacks. */
const settle = () => new Promise(resolve => setImmediate(resolve))

test('pgPool() takes a connection, sends SELECT 1, releases the connection, and resolves with 1', async () => {
  const { run, request } = openFakePool()
  const check = run()
  const client = new FakeClient()
  request(0).give(client)
  await settle()
  assert.deepEqual(client.queries, ['/*NO QUERY CACHE*/ SELECT 1'])
  client.answer(one)
  await settle()
  assert.equal(check.outcome, 1)
  assert.deepEqual(client.releases, [undefined])
  assert.equal(client.listenerCount('error'), 0)
})

test('pgPool() accepts one row with 1, as number, text or BigInt, and no other result', async () => {
  const table: [readonly unknown[], boolean][] = [
    [[{ one: 1 }], true],
    [[{ one: '1' }], true],
    [[{ one: 1n }], true],
    [[[1]], true],
    [[], false],
    [[{ one: 2 }], false],
    [[{ one: null }], false],
    [[{}], false],
    [[undefined], false],
    [[{ one: 1, two: 1 }], false],
    [[{ one: 1 }, { one: 1 }], false],
  ]
  for (const [rows, isHealthy] of table) {
    const { run, request } = openFakePool()
    const check = run()
    const client = new FakeClient()
    request(0).give(client)
    await settle()
    client.answer({ rows })
    await settle()
    if (isHealthy) assert.equal(check.outcome, 1)
    else assert.match(String(check.outcome), /UnexpectedResult/)
    assert.equal(client.releases.length, 1)
  }
})

test('pgPool() closes the connection after an error, whatever was thrown', async () => {
  const error = Object.assign(new Error('terminated'), { code: '57P01' })
  for (const thrown of [error, undefined]) {
    const { run, request } = openFakePool()
    const check = run()
    const client = new FakeClient()
    request(0).give(client)
    await settle()
    client.fail(thrown as Error)
    await settle()
    assert.equal(check.outcome, thrown)
    assert.deepEqual(client.releases, [thrown ?? true])
  }
})

test('pgPool() closes the connection once when the signal aborts during the query', async () => {
  const { run, request, check } = openFakePool()
  const aborted = run()
  const client = new FakeClient()
  request(0).give(client)
  await settle()
  assert.equal(check.timedOut?.(), 'timeout')
  aborted.abort()
  await settle()
  assert.equal(aborted.outcome, 'timeout')
  assert.equal(client.releases.length, 1)
  assert.ok(client.releases[0] instanceof Error)
  client.fail(new Error('Connection terminated'))
  await settle()
  assert.equal(client.releases.length, 1)
})

test('pgPool() hears errors of a connection from the moment it gets it: others would end the process', async () => {
  const { run, request } = openFakePool()
  const check = run()
  const client = new FakeClient()
  const shutdown = Object.assign(new Error('terminating connection'), { code: '57P01' })
  request(0).give(client)
  client.emit('error', shutdown)
  client.emit('error', new Error('Connection terminated unexpectedly'))
  await settle()
  client.fail(new Error('Client has encountered a connection error and is not queryable'))
  await settle()
  assert.equal(check.outcome, shutdown, 'the first error says why')
  assert.equal(client.releases.length, 1)
  assert.equal(client.listenerCount('error'), 0)
})

test('pgPool() has the pool close a connection that broke after the answer', async () => {
  const { run, request } = openFakePool()
  const check = run()
  const client = new FakeClient()
  const error = new Error('Connection terminated unexpectedly')
  request(0).give(client)
  await settle()
  client.answer(one)
  client.emit('error', error)
  await settle()
  assert.equal(check.outcome, 1)
  assert.deepEqual(client.releases, [error])
})

test('pgPool() releases a connection immediately when it arrives after the check has ended', () => {
  const { run, request } = openFakePool()
  run().abort()
  const client = new FakeClient()
  request(0).give(client)
  // In the same turn: the pool itself listens for errors of a connection that it has back.
  assert.deepEqual(
    { queries: client.queries, releases: client.releases },
    { queries: [], releases: [undefined] },
  )
})

test('pgPool() loses no connection that arrives while the signal aborts, whichever comes first', async () => {
  // The connection passes through several promises on its way to the check. The signal aborts after each of them.
  for (let turns = -1; turns < 12; turns += 1) {
    const { run, request } = openFakePool()
    const check = run()
    const client = new FakeClient()
    if (turns < 0) check.abort()
    request(0).give(client)
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve()
    check.abort()
    await settle()
    assert.match(`${check.outcome}`, /timeout/, `${turns}`)
    assert.equal(client.releases.length, 1, `${turns}`)
  }
})

test('pgPool() keeps one place in the queue of a full pool, however many checks give up', async () => {
  const { pool, run, requests } = openFakePool({ ...full })
  for (let count = 0; count < 1_000; count += 1) {
    const check = run()
    pool.waitingCount = 1
    check.abort()
    await settle()
    assert.equal(check.outcome, 'pool_exhausted')
  }
  assert.equal(requests.length, 1)
})

test('pgPool() gives the place of an earlier check to the one that waits now', async () => {
  const { pool, run, request } = openFakePool({ ...full })
  run().abort()
  pool.waitingCount = 1
  const check = run()
  const client = new FakeClient()
  request(0).give(client)
  await settle()
  client.answer(one)
  await settle()
  assert.equal(check.outcome, 1)
})

test('pgPool() waits for at most two connections that open, one in a pool of two', async () => {
  for (const [max, most] of [
    [1, 1],
    [2, 1],
    [3, 2],
    [100, 2],
  ] as const) {
    const { run, requests } = openFakePool({ options: { max } })
    for (let count = 0; count < 5; count += 1) {
      const check = run()
      check.abort()
      await settle()
      assert.equal(check.outcome, 'connect_timeout')
    }
    assert.equal(requests.length, most, `${max}`)
  }
})

test('pgPool() takes an idle connection although others that open give no answer', async () => {
  const { pool, run, request } = openFakePool()
  run().abort()
  run().abort()
  pool.totalCount = 3
  pool.idleCount = 1
  const check = run()
  const client = new FakeClient()
  request(2).give(client)
  await settle()
  client.answer(one)
  await settle()
  assert.equal(check.outcome, 1)
})

test('pgPool() queues in a full pool although a connection that opens gives no answer', async () => {
  const { pool, run, requests } = openFakePool()
  run().abort()
  Object.assign(pool, full)
  run()
  assert.equal(requests.length, 2)
})

test('pgPool() queues again when its place has left the queue, and the pool opens a connection for it', async () => {
  const { pool, run, requests } = openFakePool({ ...full })
  run().abort()
  pool.waitingCount = 0
  const check = run()
  assert.equal(requests.length, 2)
  check.abort()
  await settle()
  assert.equal(check.outcome, 'connect_timeout')
})

test('pgPool() fails with the error of its own attempt to connect', async () => {
  const { run, request } = openFakePool()
  const check = run()
  const error = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  request(0).refuse(error)
  await settle()
  assert.equal(check.outcome, error)
})

test('pgPool() makes an attempt of its own when one of an earlier check fails', async () => {
  const { run, requests, request } = openFakePool({ options: { max: 2 } })
  run().abort()
  const check = run()
  assert.equal(requests.length, 1)
  request(0).refuse(new Error('Connection terminated due to connection timeout'))
  await settle()
  assert.equal(requests.length, 2)
  const client = new FakeClient()
  request(1).give(client)
  await settle()
  client.answer(one)
  await settle()
  assert.equal(check.outcome, 1)
})

test('pgPool() limits connecting to 5 s if the pool has no limit, and leaves its options as they were', () => {
  const { pool, run, request } = openFakePool()
  run()
  assert.equal(request(0).connectTimeoutMs, 5_000)
  assert.equal(pool.options.connectionTimeoutMillis, undefined)
})

test("pgPool() respects the pool's own limit for connecting", () => {
  const { run, request } = openFakePool({ options: { max: 3, connectionTimeoutMillis: 700 } })
  run()
  assert.equal(request(0).connectTimeoutMs, 700)
})

test('pgPool() sets no limit for its place in the queue', () => {
  const { run, request } = openFakePool({ ...full })
  run()
  assert.equal(request(0).connectTimeoutMs, undefined)
})

test('pgPool() asks a pool that has ended, so the pool says so', async () => {
  const { pool, run, requests, request } = openFakePool({ ...full })
  run().abort()
  pool.waitingCount = 1
  pool.ending = true
  const check = run()
  assert.equal(requests.length, 2)
  request(1).refuse(new Error('Cannot use a pool after calling end on the pool'))
  await settle()
  assert.match(String(check.outcome), /after calling end/)
})

test('pgPool() treats what connect() throws immediately like a rejection, and asks again', async () => {
  const { pool, run } = openFakePool()
  let calls = 0
  pool.connect = () => {
    calls += 1
    throw new Error('not a pool')
  }
  for (let count = 1; count <= 3; count += 1) {
    const check = run()
    await settle()
    assert.match(String(check.outcome), /not a pool/)
    assert.equal(calls, count)
  }
})

test('pgPool() says connect_timeout when its own attempt fills the pool, and pool_exhausted when others do', async () => {
  const { pool, run, check } = openFakePool({ options: { max: 1 } })
  run()
  pool.totalCount = 1
  assert.equal(check.timedOut?.(), 'connect_timeout')
  const { run: runFull, pool: fullPool, check: fullCheck } = openFakePool({ ...full })
  runFull()
  fullPool.waitingCount = 1
  assert.equal(fullCheck.timedOut?.(), 'pool_exhausted')
})

test('pgPool() throws when it is given something else than a pool', () => {
  for (const thing of [undefined, null, {}, new FakeClient(), { connect() {} }]) {
    assert.throws(() => pgPool(thing as unknown as PgPool), TypeError)
  }
})

test('pgPool() asks the pool for nothing when the signal has been aborted before', async () => {
  const { check, requests } = openFakePool()
  await assert.rejects(async () => check(AbortSignal.abort(new GaveUp('timeout'))), GaveUp)
  assert.equal(requests.length, 0)
})
