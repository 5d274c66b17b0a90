// Talks to systemd: takes over its socket, tells it readiness and status, recognizes its journal.
import type { spawn } from 'node:child_process'
import { ConfigError, codedError, codeOf } from '../error.ts'
import type { Event } from '../monitor/events.ts'
import type { Log } from '../monitor/log.ts'

/**
 * The socket on which systemd already listens, or undefined: sd_listen_fds(3). Variables that are meant for another
 * process, such as our parent, do not count.
 *
 * @throws ConfigError if there is more than one: clients of a socket that is not served would wait without end.
 */
export function readSocket(env: NodeJS.ProcessEnv, pid: number): { readonly fd: number } | undefined {
  if (env['LISTEN_PID'] !== String(pid)) return undefined
  if (env['LISTEN_FDS'] === '1') return { fd: 3 }
  throw new ConfigError(['LISTEN_FDS must be 1: one socket is served, so the unit needs one ListenStream='])
}

/** Whether `stat` is that of a stream to the journal, which keeps the time and the priority of each line itself. */
export function isJournal(
  env: NodeJS.ProcessEnv,
  stat: { readonly dev: number; readonly ino: number },
): boolean {
  return env['JOURNAL_STREAM'] === `${stat.dev}:${stat.ino}`
}

export interface NotifyOptions {
  /** Holds NOTIFY_SOCKET. */
  readonly env: NodeJS.ProcessEnv
  readonly spawn: typeof spawn
  /** Gets one warning if systemd cannot be notified. */
  readonly log: Log
}

/** The log events that systemd is notified of, and the state variables that each one sets. */
const states: Readonly<Partial<Record<Event, readonly string[]>>> = {
  listening: ['READY'],
  healthy: [],
  unhealthy: [],
  stopping: ['STOPPING'],
}

/** The time limit of systemd-notify, which itself waits 5 s for systemd. */
const helperMs = 10_000

/**
 * Creates a log that notifies systemd: READY when the port is open, STATUS when the verdict changes, STOPPING.
 *
 * Node has no Unix datagram sockets, so the program systemd-notify sends the message. That takes 9 ms, of which the fork
 * blocks the event loop for 2 ms (Node 20 and 24). One runs at a time; events that occur meanwhile are sent together, with
 * the last status only. It is not an error if the program is missing or fails.
 */
export function createNotify({ env, spawn, log }: NotifyOptions): Log {
  const pending = new Map<string, string>()
  let busy = false
  let warned = false

  return (event, message) => {
    const names = states[event]
    if (names === undefined) return
    for (const name of names) pending.set(name, '1')
    // A line break would begin another assignment.
    pending.set('STATUS', message.replace(/\s+/g, ' '))
    if (!busy) sendAll()
  }

  async function sendAll() {
    busy = true
    while (pending.size > 0) {
      const assignments = [...pending].map(([name, value]) => `${name}=${value}`)
      pending.clear()
      await send(assignments).catch(warn)
    }
    busy = false
  }

  function send(assignments: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = spawn('systemd-notify', assignments, {
        // Without our secrets, and without variables that are meant for this process only.
        env: { PATH: env['PATH'], NOTIFY_SOCKET: env['NOTIFY_SOCKET'] },
        stdio: 'ignore',
        timeout: helperMs,
        killSignal: 'SIGKILL',
      })
      child.on('error', reject)
      child.on('exit', (code, signal) =>
        code === 0 ? resolve() : reject(codedError(signal ?? `EXIT_${code}`)),
      )
    })
  }

  function warn(error: unknown) {
    if (!warned)
      log('notify_failed', `can't notify systemd: systemd-notify, ${codeOf(error)}`, { code: codeOf(error) })
    warned = true
  }
}
