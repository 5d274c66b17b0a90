// One line an event: its form, its level, and what is said of lines that were dropped.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog, type LogOptions } from '../../../lib/monitor/log.ts'

/** A log, and the lines its reader got; `taken.now` is false while the reader has stalled. */
function stage(options: Partial<LogOptions> = {}) {
  const lines: string[] = []
  const taken = { now: true }
  const log = createLog({
    level: 'info',
    format: 'json',
    date: () => new Date('2026-01-02T03:04:05.678Z'),
    write: line => taken.now && lines.push(line) > 0,
    ...options,
  })
  return { log, lines, taken }
}

test('createLog() writes one line of JSON an event: time, level, event, message, then the fields', () => {
  const { log, lines } = stage()
  log('info', 'start', 'hello "world"\nsecond line')
  log('error', 'unhealthy', 'no', { reason: 'unreachable', code: undefined, heldMs: 12 })
  assert.deepEqual(lines, [
    '{"time":"2026-01-02T03:04:05.678Z","level":"info","event":"start","message":"hello \\"world\\"\\nsecond line"}\n',
    '{"time":"2026-01-02T03:04:05.678Z","level":"error","event":"unhealthy","message":"no","reason":"unreachable","heldMs":12}\n',
  ])
  for (const line of lines) assert.equal(typeof JSON.parse(line), 'object')
})

test('createLog() writes text for people: time, level, message, the levels in a column', () => {
  const { log, lines } = stage({ format: 'text' })
  log('info', 'start', 'hello', { version: '1' })
  log('error', 'unhealthy', 'no')
  assert.deepEqual(lines, ['2026-01-02T03:04:05.678Z info  hello\n', '2026-01-02T03:04:05.678Z error no\n'])
})

test('createLog() writes for the journal the priority and the message: it keeps time and level itself', () => {
  const { log, lines } = stage({ format: 'journal' })
  log('info', 'start', 'hello', { version: '1' })
  log('warn', 'slow', 'hm')
  log('error', 'unhealthy', 'no')
  assert.deepEqual(lines, ['<6>hello\n', '<4>hm\n', '<3>no\n'])
})

for (const [level, events] of [
  ['info', ['info', 'warn', 'error']],
  ['warn', ['warn', 'error']],
  ['error', ['error']],
] as const) {
  test(`createLog() at level ${level} writes ${events.join(', ')}`, () => {
    const { log, lines } = stage({ level })
    log('info', 'info', '')
    log('warn', 'warn', '')
    log('error', 'error', '')
    assert.deepEqual(
      lines.map(line => JSON.parse(line).event),
      events,
    )
  })
}

for (const [format, told, untold] of [
  ['json', /"message":"c","dropped":2}\n$/, /"message":"d"}\n$/],
  ['text', /c \(lines dropped before: 2\)\n$/, /d\n$/],
  ['journal', /^<6>c \(lines dropped before: 2\)\n$/, /^<6>d\n$/],
] as const) {
  test(`createLog() counts lines that are not taken, and the next one says so once (${format})`, () => {
    const { log, lines, taken } = stage({ format })
    taken.now = false
    log('info', 'a', 'a')
    log('info', 'b', 'b')
    taken.now = true
    log('info', 'c', 'c')
    log('info', 'd', 'd')
    assert.equal(lines.length, 2)
    assert.match(lines[0] ?? '', told)
    assert.match(lines[1] ?? '', untold)
  })
}

test('createLog() does not count what its level keeps back as dropped', () => {
  const { log, lines, taken } = stage({ level: 'warn' })
  taken.now = false
  log('info', 'a', 'a')
  taken.now = true
  log('warn', 'b', 'b')
  assert.equal('dropped' in JSON.parse(lines[0] ?? ''), false)
})
