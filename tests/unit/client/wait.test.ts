// Waiting for a server: when it asks again, when it gives up, and what it shows.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Finding } from '../../../lib/client/ask.ts'
import { createProgress, waitForHealthy } from '../../../lib/client/wait.ts'

const healthy: Finding = { state: 'healthy', line: '✓ API is healthy', elapsedMs: 1 }
const starting: Finding = {
  state: 'unhealthy',
  line: '✗ API unhealthy: database is starting up',
  elapsedMs: 1,
}
const silent: Finding = {
  state: 'failed',
  line: '✗ Health check failed: no answer within 300 ms',
  elapsedMs: 1,
}

/** Waits for a server that gives these findings one after the other, each after so many milliseconds of a mock clock. */
async function wait(t: TestContext, findings: [Finding, afterMs: number][], waitMs: number) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let time = 0
  const pass = (ms: number) => {
    time += ms
    t.mock.timers.tick(ms)
  }
  const tries: { at: number; timeoutMs: number }[] = []
  const seen: Finding[] = []
  let last: Finding | undefined
  const done = waitForHealthy({
    async ask(timeoutMs) {
      tries.push({ at: time, timeoutMs })
      const [finding, afterMs] = findings[Math.min(tries.length, findings.length) - 1] ?? assert.fail()
      time += afterMs
      return finding
    },
    timeoutMs: 5_000,
    waitMs,
    now: () => time,
    onFinding: finding => seen.push(finding),
  }).then(finding => {
    last = finding
  })
  while (last === undefined) {
    await new Promise(setImmediate)
    if (last === undefined) pass(100)
  }
  await done
  return { last, tries, seen }
}

test('waitForHealthy() ends with the first healthy response', async t => {
  const { last, tries } = await wait(t, [[healthy, 3]], 10_000)
  assert.deepEqual([last, tries], [healthy, [{ at: 0, timeoutMs: 5_000 }]])
})

test('waitForHealthy() asks twice a second, and reports every finding', async t => {
  const { last, tries, seen } = await wait(
    t,
    [
      [starting, 0],
      [starting, 100],
      [healthy, 0],
    ],
    10_000,
  )
  assert.deepEqual([last, seen], [healthy, [starting, starting, healthy]])
  assert.deepEqual(
    tries.map(({ at }) => at),
    [0, 500, 1_000],
  )
})

test('waitForHealthy() asks again immediately after a request that took longer than that', async t => {
  const { tries } = await wait(
    t,
    [
      [silent, 5_000],
      [healthy, 0],
    ],
    60_000,
  )
  // The mock clock moves on in the turn of the event loop between the two.
  assert.ok((tries[1]?.at ?? 0) <= 5_100, `${tries[1]?.at}`)
})

test('waitForHealthy() limits a request to the time left; if that was too little, the one before counts', async t => {
  const { last, tries } = await wait(
    t,
    [
      [starting, 0],
      [silent, 300],
    ],
    800,
  )
  assert.deepEqual(
    tries.map(({ timeoutMs }) => timeoutMs),
    [800, 300],
  )
  assert.equal(last, starting)
})

test('waitForHealthy() asks at least once, and gives the last finding when the time is up', async t => {
  const { last, tries } = await wait(t, [[silent, 1]], 1)
  assert.deepEqual([last, tries.length], [silent, 1])
})

test('createProgress() writes one line per change if there is no terminal', () => {
  let text = ''
  const progress = createProgress(
    more => {
      text += more
    },
    undefined,
    () => 0,
  )
  for (const finding of [starting, starting, healthy]) progress.show(finding)
  progress.tick()
  progress.end(healthy)
  assert.equal(text, `${starting.line}\n${healthy.line}\n`)
})

test('createProgress() overwrites one line on a terminal, cut to its width, and keeps the last', () => {
  let text = ''
  let time = 0
  const progress = createProgress(
    more => {
      text += more
    },
    20,
    () => time,
  )
  progress.tick()
  time = 1_000
  progress.show(starting)
  time = 2_000
  progress.tick()
  progress.end(healthy)
  assert.deepEqual(text.split('\r'), [
    '',
    '0 s waiting for an \x1b[K',
    '1 s ✗ API unhealthy\x1b[K',
    '2 s ✗ API unhealthy\x1b[K',
    '\x1b[K✓ API is healthy\n',
  ])
})
