// Runs the check command: asks a server once, or until it is healthy, and prints what it found.
import type { CheckCommand } from '../config/command.ts'
import { type ClientConfig, urlOf } from '../config/config.ts'
import { askServer, type Target } from './ask.ts'
import { pluginResultOf } from './nagios.ts'
import { createProgress, waitForHealthy } from './wait.ts'

/** What `check` needs of the machine. */
export interface Terminal {
  /** Monotonic clock, milliseconds. */
  readonly now: () => number
  /** Writes to standard output. */
  print(text: string): void
  /** Width of the terminal; undefined if there is none. */
  readonly columns: number | undefined
  /** Loads a module of Node.js. */
  readonly loadModule: NodeJS.Process['getBuiltinModule']
}

/** Runs the check command. Resolves with the exit code: 0 if healthy, else 1; for plugins 0 to 3. Never rejects. */
export async function check(
  command: CheckCommand,
  client: ClientConfig,
  { now, print, columns, loadModule }: Terminal,
): Promise<number> {
  const { output, waitMs, timeoutMs = defaultTimeoutMs(client) } = command
  const target = command.url ? { url: command.url } : ownTargetOf(client)
  const ask = (limitMs: number) => askServer({ target, timeoutMs: limitMs, now, loadModule })

  const progress = output === 'line' && waitMs !== undefined ? createProgress(print, columns, now) : undefined
  const timer = setInterval(() => progress?.tick(), 1_000)
  const finding =
    waitMs === undefined
      ? await ask(timeoutMs)
      : await waitForHealthy({ ask, timeoutMs, waitMs, now, onFinding: found => progress?.show(found) })
  clearInterval(timer)
  progress?.end(finding)

  if (output === 'nagios') {
    const { line, exitCode } = pluginResultOf(finding, client.slowMs, timeoutMs)
    print(`${line}\n`)
    return exitCode
  }
  if (output === 'line' && !progress) print(`${finding.line}\n`)
  return finding.state === 'healthy' ? 0 : 1
}

/** Longer than the server's own deadline, so that its response arrives before we give up. Milliseconds. */
export function defaultTimeoutMs({ timeoutMs }: Pick<ClientConfig, 'timeoutMs'>): number {
  return Math.max(5_000, timeoutMs + 1_000)
}

/** The server in the same container, which has the same HOST and PORT. */
function ownTargetOf({ host, port }: ClientConfig): Target {
  if (host === undefined || host === '0.0.0.0' || host === '::')
    return { url: new URL(urlOf('127.0.0.1', port)) }
  const [address = '', zone] = host.split('%')
  const url = new URL(urlOf(address, port))
  return zone === undefined ? { url } : { url, host }
}
