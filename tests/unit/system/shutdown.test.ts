// A stop as an ordered list of observations.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { events } from '../../../lib/monitor/events.ts'
import { createShutdown, type StopSteps } from '../../../lib/system/shutdown.ts'

/** A lifecycle whose steps, log and exit write down what they see, and when. */
function stage(t: TestContext, steps: Partial<StopSteps> = {}) {
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

test('createShutdown() on SIGTERM refuses at once, drains, closes the server, then the database, exits 0', async t => {
  const { stop, seen, advance } = stage(t)
  stop('SIGTERM')
  await advance(4_999)
  assert.deepEqual(seen, ['0 drain', '0 info stopping'])
  await advance(1)
  assert.deepEqual(seen.slice(2), [
    '5000 closeServer(1000)',
    '5000 closeDatabase',
    '5000 info stopped',
    '5000 exit 0',
  ])
})

test('createShutdown() on SIGINT takes the same steps, but drains no time', async t => {
  const { stop, seen, advance } = stage(t)
  stop('SIGINT')
  assert.deepEqual(seen, ['0 drain', '0 info stopping'])
  await advance(0)
  assert.deepEqual(seen.slice(2), ['0 closeServer(1000)', '0 closeDatabase', '0 info stopped', '0 exit 0'])
})

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
] as const) {
  test(`createShutdown() on ${second} after ${first} exits ${code} at once, and repeats no step`, async t => {
    const { stop, seen, advance } = stage(t)
    stop(first)
    await advance(100)
    stop(second)
    assert.ok(seen.includes(`100 exit ${code}`), seen.join())
    await advance(5_000)
    assert.equal(seen.filter(what => what.endsWith('closeDatabase')).length, 1)
  })
}

test('createShutdown() takes a second SIGINT of the same moment for the echo of one Ctrl-C', async t => {
  const { stop, seen, advance } = stage(t)
  stop('SIGINT')
  await advance(99)
  stop('SIGINT')
  assert.deepEqual(
    seen.filter(what => what.includes('exit')),
    ['99 exit 0'],
  )
})

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
  test(`createShutdown() exits 1 and says so when ${step} fails`, async t => {
    const { stop, seen, advance } = stage(t, { [step]: fail })
    stop('SIGINT')
    await advance(0)
    assert.deepEqual(seen.slice(-2), ['0 error stop_failed', '0 exit 1'])
  })
}
