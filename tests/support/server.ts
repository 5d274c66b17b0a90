// Starts the program as people do, as a process of its own, and asks it as a load balancer does.
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import http, { type IncomingHttpHeaders } from 'node:http'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface Running {
  readonly child: ChildProcess
  /** `http://127.0.0.1:PORT` */
  readonly origin: string
  /** Everything that it has written so far. */
  output(): string
  /** Its log lines, which are JSON as its output is no terminal. */
  events(): { readonly event: string; readonly [field: string]: unknown }[]
  /** Resolves with the first line that has this event, now or later. */
  event(name: string, from?: number): Promise<{ readonly event: string; readonly [field: string]: unknown }>
  /** Sends the signal and resolves with the exit code, or the signal that it died of. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Only what a test sets, so that nothing of the machine's own PG… variables gets in. */
function environmentOf(settings: Readonly<Record<string, string>>) {
  return { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', ...settings }
}

/** What Node is told to run. */
export const program = ['--import', 'tsx', 'server.ts']

/** Runs the program to its end: for commands, and for settings that it refuses. */
export async function runServer(
  args: readonly string[],
  settings: Readonly<Record<string, string>>,
): Promise<Ended> {
  const child = spawn(process.execPath, [...program, ...args], { cwd: root, env: environmentOf(settings) })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

/** How the program is started where that is not as a plain child. */
export interface Start {
  /** A command, with its arguments, that runs what follows it: the program. */
  readonly through?: readonly string[]
  /** A channel for `child.send()`, to whatever was loaded before the program. */
  readonly ipc?: boolean
}

/** Starts the program on a port of its own and resolves when it says that it listens. */
export async function startServer(
  settings: Readonly<Record<string, string>>,
  command: readonly string[] = program,
  { through = [], ipc = false }: Start = {},
): Promise<Running> {
  const env = environmentOf({ HOST: '127.0.0.1', PORT: '0', DRAIN_MS: '0', ...settings })
  const [file = '', ...args] = [...through, process.execPath, ...command]
  const stdio: StdioOptions = ['pipe', 'pipe', 'pipe', ...(ipc ? (['ipc'] as const) : [])]
  const child = spawn(file, args, { cwd: root, env, stdio })
  let output = ''
  const collect = (chunk: Buffer) => {
    output += chunk
    child.emit('line')
  }
  child.stdout?.on('data', collect)
  child.stderr?.on('data', collect)
  const exited = once(child, 'exit')

  function events() {
    const lines = output.split('\n').slice(0, -1)
    return lines.filter(line => line.startsWith('{')).map(line => JSON.parse(line))
  }

  async function event(name: string, from = 0) {
    for (;;) {
      const found = events()
        .slice(from)
        .find(line => line.event === name)
      if (found) return found
      if (child.exitCode !== null) throw new Error(`The server ended with ${child.exitCode}:\n${output}`)
      await Promise.race([once(child, 'line'), exited])
    }
  }

  async function stop(signal: NodeJS.Signals = 'SIGINT') {
    child.kill(signal)
    await exited
    return child.exitCode ?? child.signalCode
  }

  const { url } = await event('listening')
  return { child, origin: new URL(String(url)).origin, output: () => output, events, event, stop }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** On the clock of `performance.now()`. */
  readonly sentAt: number
  readonly answeredAt: number
}

/** Asks once; `agent` keeps connections when given. Rejects when the connection fails. */
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
