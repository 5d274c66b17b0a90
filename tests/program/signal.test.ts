// What each signal does to the program: real processes, real signals, with and without a terminal.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { describe, type TestContext, test } from 'node:test'
import { ask, type Running, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

/** The database is down, as it does not matter here. */
const settings = { DATABASE_URL: 'postgres://x@127.0.0.1:1/x', DRAIN_MS: '300' }

async function start(t: TestContext): Promise<Running> {
  const server = await startServer(settings)
  t.after(() => server.stop('SIGKILL'))
  return server
}

interface OnTerminal {
  readonly server: Running
  /** The process of the program itself; `server.child` is the terminal. */
  readonly pid: number
  /** Presses a key. */
  press(key: string): void
}

/** Starts the program on a terminal of its own: script(1), which ends with the exit code of the program. */
async function startOnTerminal(t: TestContext): Promise<OnTerminal | undefined> {
  const script = findTool(t, 'script')
  if (script === undefined) return undefined
  // Without -echo the terminal would write ^C in front of a log line.
  const through = ['sh', '-c', `exec "$0" -qefc "stty -echo; exec $*" /dev/null`, script]
  const server = await startServer({ ...settings, LOG_FORMAT: 'json' }, undefined, { through })
  await server.event('unhealthy')
  const { pid: terminal } = server.child
  const pid = Number(readFileSync(`/proc/${terminal}/task/${terminal}/children`, 'utf8'))
  t.after(() => server.child.kill('SIGKILL'))
  return { server, pid, press: key => void server.child.stdin?.write(key) }
}

/** Sends a signal. Gives the exit code, the length of the drain (milliseconds), and the events from the signal on. */
async function endOf({ child, events }: Running, send: () => void) {
  // Not 'exit', which may come before the last output.
  const closed = once(child, 'close')
  send()
  await closed
  const names = events().map(({ event }) => event)
  const from = names.findIndex(name => name === 'stopping' || name === 'killed')
  return { code: child.exitCode, drainMs: events()[from]?.['drainMs'], events: names.slice(from) }
}

const stopped = (drainMs: number) => ({ code: 0, drainMs, events: ['stopping', 'stopped'] })
const killed = (signal: NodeJS.Signals) => ({
  code: 128 + constants.signals[signal],
  drainMs: undefined,
  events: ['killed'],
})

describe('the program', { concurrency: 3 }, () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    test(`${signal} without a terminal: drains, exit 0`, async t => {
      const server = await start(t)
      assert.deepEqual(await endOf(server, () => server.child.kill(signal)), stopped(300))
    })
  }

  const deadly = ['SIGQUIT', 'SIGABRT', 'SIGALRM', 'SIGUSR2', 'SIGVTALRM', 'SIGPROF', 'SIGXCPU'] as const
  const linux = ['SIGIO', 'SIGPWR', 'SIGSTKFLT'] as const
  for (const signal of [...deadly, ...(process.platform === 'linux' ? linux : [])]) {
    test(`${signal}: a log line, exit ${128 + constants.signals[signal]}`, async t => {
      const server = await start(t)
      assert.deepEqual(await endOf(server, () => server.child.kill(signal)), killed(signal))
    })
  }

  for (const signal of ['SIGPIPE', 'SIGXFSZ', 'SIGUSR1'] as const) {
    test(`${signal}: no effect`, async t => {
      const server = await start(t)
      server.child.kill(signal)
      assert.equal((await ask(`${server.origin}/livez`)).status, 200)
      assert.equal(server.child.exitCode, null)
    })
  }

  test('SIGUSR1 opens no port of a debugger', { skip: process.platform !== 'linux' }, async t => {
    const server = await start(t)
    for (let round = 0; round < 20; round += 1) {
      server.child.kill('SIGUSR1')
      assert.equal((await ask(`${server.origin}/livez`)).status, 200)
    }
    assert.deepEqual(listeningPortsOf(server.child.pid ?? 0), [Number(new URL(server.origin).port)])
    assert.doesNotMatch(server.output(), /Debugger/)
  })

  for (const [name, signal, end] of [
    ['SIGTERM', 'SIGTERM', stopped(300)],
    ['SIGHUP', 'SIGHUP', stopped(300)],
    ['Ctrl-C', '\x03', stopped(0)],
    ['Ctrl-\\', '\x1c', killed('SIGQUIT')],
  ] as const) {
    test(`${name} at a terminal: exit ${end.code}, drain ${end.drainMs ?? 'none'}`, async t => {
      const running = await startOnTerminal(t)
      if (running === undefined) return
      const { server, pid, press } = running
      const send = () => {
        if (signal === 'SIGTERM' || signal === 'SIGHUP') process.kill(pid, signal)
        else press(signal)
      }
      assert.deepEqual(await endOf(server, send), end)
    })
  }
})

/** The TCP ports on which a process listens, from /proc. */
function listeningPortsOf(pid: number): number[] {
  const links = readdirSync(`/proc/${pid}/fd`).map(fd => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch {
      return ''
    }
  })
  const inodes = new Set(links.map(link => /^socket:\[(\d+)\]$/.exec(link)?.[1]))
  const rows = ['tcp', 'tcp6'].flatMap(name => readFileSync(`/proc/${pid}/net/${name}`, 'utf8').split('\n'))
  return rows
    .map(row => row.trim().split(/\s+/))
    .filter(row => row[3] === '0A' && inodes.has(row[9]))
    .map(row => Number.parseInt(row[1]?.split(':')[1] ?? '', 16))
}
