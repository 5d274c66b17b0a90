// A shutdown as an ordered list of events.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { events } from '../../../lib/monitor/events.ts'
import { createShutdown, type ShutdownOptions, type StopSteps } from '../../../lib/system/shutdown.ts'
import type { StopSignal } from '../../../lib/system/signal.ts'

/** A shutdown whose steps, log and exit note what happens, and when. */
function stage(
  t: TestContext,
  steps: Partial<StopSteps> = {},
  startedBy: ShutdownOptions['startedBy'] = 'person',
) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let time = 0
  const seen: string[] = []
  const stop = createShutdown({
    steps: {
      drain: () => note('drain'),
      closeServer: async graceMs => note(`closeServer(${graceMs})`),
      closeDatabase: async () => note('closeDatabase'),
      ...steps,
    },
    drainMs: 5_000,
    startedBy,
    now: () => time,
    exit: code => note(`exit ${code}`),
    log: event => note(`${events[event].level} ${event}`),
  })
  return { stop, seen, note, advance }

  function note(what: string) {
    seen.push(`${time} ${what}`)
  }

  async function advance(ms: number) {
    time += ms
    t.mock.timers.tick(ms)
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
  }
}

const waits: [StopSignal, ShutdownOptions['startedBy'], drainMs: number][] = [
  ['SIGTERM', 'supervisor', 5_000],
  ['SIGTERM', 'person', 5_000],
  ['SIGINT', 'supervisor', 5_000],
  ['SIGINT', 'person', 0],
  ['SIGHUP', 'supervisor', 5_000],
  ['SIGHUP', 'person', 5_000],
]
for (const [signal, startedBy, drainMs] of waits) {
  test(`createShutdown() on ${signal}, started by a ${startedBy}: drains ${drainMs} ms, closes, exits 0`, async t => {
    const { stop, seen, advance } = stage(t, {}, startedBy)
    stop(signal)
    if (drainMs > 0) await advance(drainMs - 1)
    assert.deepEqual(seen, ['0 drain', '0 info stopping'])
    await advance(drainMs > 0 ? 1 : 0)
    const steps = ['closeServer(1000)', 'closeDatabase', 'info stopped', 'exit 0']
    assert.deepEqual(
      seen.slice(2),
      steps.map(step => `${drainMs} ${step}`),
    )
  })
}

test('createShutdown() keeps the database until the last request is done', async t => {
  let finish = () => {}
  const closeServer = () => new Promise<void>(done => (finish = done))
  const { stop, seen, advance } = stage(t, { closeServer })
  stop('SIGINT')
  await advance(900)
  assert.deepEqual(seen, ['0 drain', '0 info stopping'])
  finish()
  await advance(0)
  assert.deepEqual(seen.slice(2), ['900 closeDatabase', '900 info stopped', '900 exit 0'])
})

for (const [first, second, code] of [
  ['SIGTERM', 'SIGTERM', 143],
  ['SIGTERM', 'SIGINT', 130],
  ['SIGINT', 'SIGTERM', 143],
  ['SIGINT', 'SIGINT', 130],
  ['SIGTERM', 'SIGHUP', 129],
  ['SIGHUP', 'SIGHUP', 129],
] as const) {
  test(`createShutdown() on ${second} after ${first} exits ${code} immediately, and repeats no step`, async t => {
    const { stop, seen, advance } = stage(t)
    stop(first)
    await advance(100)
    stop(second)
    assert.ok(seen.includes(`100 exit ${code}`), seen.join())
    await advance(5_000)
    assert.equal(seen.filter(what => what.endsWith('closeDatabase')).length, 1)
  })
}

for (const signal of ['SIGINT', 'SIGHUP'] as const) {
  test(`createShutdown() ignores a second ${signal} within 100 ms: it is the echo of the first`, async t => {
    const { stop, seen, advance } = stage(t)
    stop(signal)
    await advance(99)
    stop(signal)
    assert.ok(!seen.some(what => /exit 1/.test(what)), seen.join())
  })
}

for (const [signal, step, at] of [
  ['SIGTERM', 'closeServer', 8_000],
  ['SIGTERM', 'closeDatabase', 8_000],
  ['SIGINT', 'closeServer', 3_000],
] as const) {
  test(`createShutdown() exits 1 three seconds after the drain of ${signal} when ${step} hangs`, async t => {
    const { stop, seen, advance } = stage(t, { [step]: () => new Promise(() => {}) })
    stop(signal)
    await advance(at - 1)
    assert.ok(!seen.some(what => what.includes('exit')), seen.join())
    await advance(1)
    assert.deepEqual(seen.slice(-2), [`${at} error stop_overdue`, `${at} exit 1`])
  })
}

const failures: [keyof StopSteps, StopSteps[keyof StopSteps]][] = [
  [
    'drain',
    () => {
      throw new Error('refuse')
    },
  ],
  ['closeServer', () => Promise.reject(new Error('closeServer'))],
  ['closeDatabase', () => Promise.reject(new Error('closeDatabase'))],
]

for (const [step, fail] of failures) {
  test(`createShutdown() exits 1 and logs it when ${step} fails`, async t => {
    const { stop, seen, advance } = stage(t, { [step]: fail })
    stop('SIGINT')
    await advance(0)
    assert.deepEqual(seen.slice(-2), ['0 error stop_failed', '0 exit 1'])
  })
}
