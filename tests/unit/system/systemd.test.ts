// systemd's variables, and the messages for systemd-notify.
import assert from 'node:assert/strict'
import type { ChildProcess, spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { describe, test } from 'node:test'
import { createNotify, isJournal, readSocket } from '../../../lib/system/systemd.ts'

test('readSocket() takes descriptor 3 when one socket is passed to this process', () => {
  assert.deepEqual(readSocket({ LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: 'x' }, 42), { fd: 3 })
})

for (const [what, env] of [
  ['an empty environment', {}],
  ['the socket of another process', { LISTEN_PID: '43', LISTEN_FDS: '1' }],
  ['another process, even with a wrong count', { LISTEN_PID: '43', LISTEN_FDS: 'x' }],
  ['a missing LISTEN_PID', { LISTEN_FDS: '1' }],
  ['a LISTEN_PID that is not a number', { LISTEN_PID: 'x', LISTEN_FDS: '1' }],
] as const) {
  test(`readSocket() ignores ${what}`, () => {
    assert.equal(readSocket(env, 42), undefined)
  })
}

for (const count of ['0', '2', '-1', '1x', '01', '', undefined]) {
  test(`readSocket() refuses LISTEN_FDS=${count}`, () => {
    assert.throws(() => readSocket({ LISTEN_PID: '42', LISTEN_FDS: count }, 42), {
      name: 'ConfigError',
      faults: ['LISTEN_FDS must be 1: one socket is served, so the unit needs one ListenStream='],
    })
  })
}

test('isJournal() compares device and inode', () => {
  const env = { JOURNAL_STREAM: '8:1234' }
  assert.equal(isJournal(env, { dev: 8, ino: 1234 }), true)
  assert.equal(isJournal(env, { dev: 8, ino: 123 }), false)
  assert.equal(isJournal(env, { dev: 81, ino: 234 }), false)
  assert.equal(isJournal({}, { dev: 8, ino: 1234 }), false)
})

describe('createNotify()', () => {
  /** A notify whose helper is a list of calls, each of which the test ends by hand. */
  function stage(start: (child: EventEmitter) => void = () => {}) {
    const calls: (readonly string[])[] = []
    const children: EventEmitter[] = []
    const logged: string[] = []
    const notify = createNotify({
      env: {},
      log: (event, message) => logged.push(`${event} ${message}`),
      spawn: ((_program: string, args: readonly string[]) => {
        calls.push(args)
        const child = new EventEmitter()
        children.push(child)
        start(child)
        return child as ChildProcess
      }) as typeof spawn,
    })
    return { notify, calls, children, logged }
  }

  const turn = () => new Promise(resolve => setImmediate(resolve))

  test('createNotify() sends READY, STATUS and STOPPING, and ignores other events', async () => {
    const { notify, calls, logged } = stage(child => setImmediate(() => child.emit('exit', 0, null)))
    for (const event of [
      'start',
      'listening',
      'healthy',
      'slow',
      'unhealthy',
      'still_unhealthy',
      'stopping',
    ] as const) {
      notify(event, `it is ${event}`)
      await turn()
      await turn()
    }
    assert.deepEqual(calls, [
      ['READY=1', 'STATUS=it is listening'],
      ['STATUS=it is healthy'],
      ['STATUS=it is unhealthy'],
      ['STOPPING=1', 'STATUS=it is stopping'],
    ])
    assert.deepEqual(logged, [])
  })

  test('createNotify() runs one helper at a time, and then sends the latest status once', async () => {
    const { notify, calls, children } = stage()
    notify('listening', 'a')
    for (let change = 0; change < 100; change += 1) {
      notify('unhealthy', 'b')
      notify('healthy', 'c')
    }
    notify('stopping', 'd')
    await turn()
    assert.equal(calls.length, 1)
    children[0]?.emit('exit', 0, null)
    await turn()
    assert.deepEqual(calls.slice(1), [['STATUS=d', 'STOPPING=1']])
    children[1]?.emit('exit', 0, null)
    await turn()
    assert.equal(calls.length, 2)
  })

  test('createNotify() keeps a text of several lines in one assignment', () => {
    const { notify, calls } = stage()
    notify('healthy', 'a\nMAINPID=1\r\nb')
    assert.deepEqual(calls, [['STATUS=a MAINPID=1 b']])
  })

  for (const [what, start, code] of [
    ['is missing', child => setImmediate(() => child.emit('error', { code: 'ENOENT' })), 'ENOENT'],
    ['fails', child => setImmediate(() => child.emit('exit', 1, null)), 'EXIT_1'],
    ['is killed', child => setImmediate(() => child.emit('exit', null, 'SIGKILL')), 'SIGKILL'],
    ["can't be forked", () => assert.fail(Object.assign(new Error(), { code: 'ENOMEM' })), 'ENOMEM'],
  ] as [string, (child: EventEmitter) => void, string][]) {
    test(`createNotify() warns once, and continues, when the helper ${what}`, async () => {
      const { notify, calls, logged } = stage(start)
      for (const event of ['listening', 'healthy'] as const) {
        notify(event, event)
        await turn()
        await turn()
      }
      assert.equal(calls.length, 2)
      assert.deepEqual(logged, [`notify_failed can't notify systemd: systemd-notify, ${code}`])
    })
  }
})
