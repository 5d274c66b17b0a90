// Starts the program as a process, and asks it as a load balancer does.
import type { ChildProcess, StdioOptions } from 'node:child_process'
import http, { type IncomingHttpHeaders } from 'node:http'
import { type Child, runChild, startChild } from './child.ts'
import { program, root } from './program.ts'

export { program, root }

/** One line of the log, which is JSON because its output is no terminal. */
export interface Logged {
  readonly event: string
  readonly [field: string]: unknown
}

/** The program, running. */
export interface Running {
  readonly child: ChildProcess
  /** `http://127.0.0.1:PORT` */
  readonly origin: string
  /** Everything that it has written so far. */
  output(): string
  /** All lines of its log so far. */
  events(): Logged[]
  /** Resolves with the first line that has this event, now or later. */
  event(name: string): Promise<Logged>
  /** Sends the signal and resolves with the exit code, or the signal that ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
}

/** Only what a test sets: no PG… variable of the machine may reach the program. */
export function environmentOf(settings: Readonly<Record<string, string>>) {
  return { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', ...settings }
}

/** Runs the program to its end: for commands, and for settings that it refuses. */
export async function runServer(args: readonly string[], settings: Readonly<Record<string, string>>) {
  const options = { cwd: root, env: environmentOf(settings) }
  const { code, stdout, stderr } = await runChild(process.execPath, [...program, ...args], options)
  return { code, stdout, stderr }
}

/** How the program is started where it is not a plain child. */
export interface Start {
  /** A command, with its arguments, that runs what follows it: the program. */
  readonly through?: readonly string[]
  /** A channel for `child.send()`, to whatever was loaded before the program. */
  readonly ipc?: boolean
}

/** Starts the program on a free port and resolves when it listens. Rejects with its output when it ends before. */
export async function startServer(
  settings: Readonly<Record<string, string>>,
  command: readonly string[] = program,
  { through = [], ipc = false }: Start = {},
): Promise<Running> {
  const env = environmentOf({ HOST: '127.0.0.1', PORT: '0', DRAIN_MS: '0', ...settings })
  const [file = '', ...args] = [...through, process.execPath, ...command]
  const stdio: StdioOptions = ['pipe', 'pipe', 'pipe', ...(ipc ? (['ipc'] as const) : [])]
  const child = startChild(file, args, { cwd: root, env, stdio })
  const running = runningOf(child)
  const { url } = await running.event('listening')
  return { ...running, origin: new URL(String(url)).origin }
}

function runningOf({ process: child, output, said, ended }: Child) {
  async function event(name: string): Promise<Logged> {
    // A terminal ends its lines with \\r\\n.
    return JSON.parse(await said(new RegExp(`^(\\{.*"event":"${name}".*\\})\\r?\n`, 'm')))
  }

  function events(): Logged[] {
    const lines = output().split('\n').slice(0, -1)
    return lines.filter(line => line.startsWith('{')).map(line => JSON.parse(line))
  }

  function stop(signal: NodeJS.Signals = 'SIGINT') {
    child.kill(signal)
    return ended
  }
  return { child, output, events, event, stop }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** On the clock of `performance.now()`. */
  readonly sentAt: number
  readonly answeredAt: number
}

/** Sends one request, on a new connection unless `agent` is given. Rejects when the connection fails. */
export function ask(url: string, options: http.RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sentAt = performance.now()
    const request = http.request(url, { agent: false, ...options }, response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', chunk => {
        body += chunk
      })
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        resolve({ status, headers, body, sentAt, answeredAt: performance.now() })
      })
    })
    request.on('error', reject)
    request.end()
  })
}
