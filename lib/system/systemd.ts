// What systemd and a service tell each other: the socket that waits, readiness and status, the journal.

import type { spawn } from 'node:child_process'
import { ConfigError, codedError, codeOf } from '../error.ts'
import type { Event } from '../monitor/events.ts'
import type { Log } from '../monitor/log.ts'

/**
 * The socket that systemd listens on for us, or undefined (sd_listen_fds(3)). Variables meant for another
 * process, such as our parent, do not count.
 *
 * @throws ConfigError when it hands over more than one: a socket that nobody serves would swallow its callers.
 */
export function readSocket(env: NodeJS.ProcessEnv, pid: number): { readonly fd: number } | undefined {
  if (env['LISTEN_PID'] !== String(pid)) return undefined
  if (env['LISTEN_FDS'] === '1') return { fd: 3 }
  throw new ConfigError(['LISTEN_FDS must be 1: one socket is served, so the unit needs one ListenStream='])
}

/** Whether what `stat` belongs to is a stream of the journal, which then keeps time and priority of each line. */
export function isJournal(
  env: NodeJS.ProcessEnv,
  stat: { readonly dev: number; readonly ino: number },
): boolean {
  return env['JOURNAL_STREAM'] === `${stat.dev}:${stat.ino}`
}

export interface NotifyOptions {
  /** With NOTIFY_SOCKET. */
  readonly env: NodeJS.ProcessEnv
  readonly spawn: typeof spawn
  /** Is told, once, that systemd can't be. */
  readonly log: Log
}

/** The events of the log that systemd is told, and the state that each stands for. */
const states: Readonly<Partial<Record<Event, readonly string[]>>> = {
  listening: ['READY'],
  healthy: [],
  unhealthy: [],
  stopping: ['STOPPING'],
}

/** The helper itself waits 5 s for systemd to read. */
const helperMs = 10_000

/**
 * Makes a log that tells systemd: READY when the port accepts, STATUS on a change of verdict, STOPPING.
 *
 * Node has no datagram sockets of the Unix kind, so this is systemd-notify's work: 9 ms, of which the fork
 * holds our event loop for 2 (Node 20 and 24). It runs once at a time; what comes meanwhile is told together,
 * the last status only. That there is no such program, or that it fails, is no error.
 */
export function createNotify({ env, spawn, log }: NotifyOptions): Log {
  const untold = new Map<string, string>()
  let busy = false
  let warned = false

  return (event, message) => {
    const names = states[event]
    if (names === undefined) return
    for (const name of names) untold.set(name, '1')
    // A line break would begin another assignment.
    untold.set('STATUS', message.replace(/\s+/g, ' '))
    if (!busy) tellAll()
  }

  async function tellAll() {
    busy = true
    while (untold.size > 0) {
      const assignments = [...untold].map(([name, value]) => `${name}=${value}`)
      untold.clear()
      await tell(assignments).catch(warn)
    }
    busy = false
  }

  function tell(assignments: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = spawn('systemd-notify', assignments, {
        // No secret of ours, and nothing that was meant for us alone.
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
