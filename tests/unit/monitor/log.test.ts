// One line per event: its form, its level, and what is said about lines that were dropped.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog, type LogOptions } from '../../../lib/monitor/log.ts'

/** A log, and the lines that its reader got. The reader has stalled while `reader.stalled` is true. */
function stage(options: Partial<LogOptions> = {}) {
  const lines: string[] = []
  const reader = { stalled: false }
  const log = createLog({
    level: 'info',
    format: 'json',
    date: () => new Date('2026-01-02T03:04:05.678Z'),
    write: line => !reader.stalled && lines.push(line) > 0,
    ...options,
  })
  return { log, lines, reader }
}

test('createLog() writes one line of JSON per event: time, level, event, message, then the fields', () => {
  const { log, lines } = stage()
  log('start', 'hello "world"\nsecond line')
  log('unhealthy', 'no', { reason: 'unreachable', code: undefined, heldMs: 12 })
  assert.deepEqual(lines, [
    '{"time":"2026-01-02T03:04:05.678Z","level":"info","event":"start","message":"hello \\"world\\"\\nsecond line"}\n',
    '{"time":"2026-01-02T03:04:05.678Z","level":"error","event":"unhealthy","message":"no","reason":"unreachable","heldMs":12}\n',
  ])
  for (const line of lines) assert.equal(typeof JSON.parse(line), 'object')
})

test('createLog() writes text for people: time, level, message, with the levels in a column', () => {
  const { log, lines } = stage({ format: 'text' })
  log('start', 'hello', { version: '1' })
  log('unhealthy', 'no')
  assert.deepEqual(lines, ['2026-01-02T03:04:05.678Z info  hello\n', '2026-01-02T03:04:05.678Z error no\n'])
})

test('createLog() writes the priority and the message for the journal, which adds the time itself', () => {
  const { log, lines } = stage({ format: 'journal' })
  log('start', 'hello', { version: '1' })
  log('slow', 'hm')
  log('unhealthy', 'no')
  assert.deepEqual(lines, ['<6>hello\n', '<4>hm\n', '<3>no\n'])
})

for (const format of ['text', 'journal'] as const) {
  test(`createLog() keeps a message on one line and free of control characters (${format})`, () => {
    const { log, lines } = stage({ format })
    log('unhealthy', 'a\r\n<3>b\u001b[31mc\u009bd\u2028e\tf é')
    assert.match(lines.join(''), /[ >]a <3>b \[31mc d e f é\n$/)
  })
}

for (const [level, events] of [
  ['info', ['start', 'slow', 'unhealthy']],
  ['warn', ['slow', 'unhealthy']],
  ['error', ['unhealthy']],
] as const) {
  test(`createLog() at level ${level} writes ${events.join(', ')}`, () => {
    const { log, lines } = stage({ level })
    for (const event of ['start', 'slow', 'unhealthy'] as const) log(event, '')
    assert.deepEqual(
      lines.map(line => JSON.parse(line).event),
      events,
    )
  })
}

for (const [format, first, second] of [
  ['json', /"message":"c","dropped":2}\n$/, /"message":"d"}\n$/],
  ['text', /c \(lines dropped before: 2\)\n$/, /d\n$/],
  ['journal', /^<6>c \(lines dropped before: 2\)\n$/, /^<6>d\n$/],
] as const) {
  test(`createLog() counts dropped lines, and the next line that is written says so (${format})`, () => {
    const { log, lines, reader } = stage({ format })
    reader.stalled = true
    log('start', 'a')
    log('start', 'b')
    reader.stalled = false
    log('start', 'c')
    log('start', 'd')
    assert.equal(lines.length, 2)
    assert.match(lines[0] ?? '', first)
    assert.match(lines[1] ?? '', second)
  })
}

test('createLog() does not count events below its level as dropped', () => {
  const { log, lines, reader } = stage({ level: 'warn' })
  reader.stalled = true
  log('start', 'a')
  reader.stalled = false
  log('slow', 'b')
  assert.equal('dropped' in JSON.parse(lines[0] ?? ''), false)
})
