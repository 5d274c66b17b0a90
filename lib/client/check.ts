// Runs the check command: asks once or until it is healthy, prints what it found, gives the exit code.
import type { CheckCommand } from '../config/command.ts'
import { type ClientConfig, ownUrlOf } from '../config/config.ts'
import { askServer } from './ask.ts'
import { pluginResultOf } from './nagios.ts'
import { createProgress, waitForHealthy } from './wait.ts'

export interface CheckOptions {
  readonly url: URL
  /** What one try has, milliseconds. */
  readonly timeoutMs: number
  /** How long to ask again, milliseconds; undefined: ask once. */
  readonly waitMs: number | undefined
  readonly output: 'line' | 'nagios' | 'none'
  /** For plugins: what is a warning, milliseconds. */
  readonly slowMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly write: (text: string) => void
  /** The width of the terminal; undefined where there is none. */
  readonly columns: number | undefined
}

/** Resolves with the exit code: 0 when the server said healthy, else 1; or, for plugins, 0 to 3. Never rejects. */
export async function runCheck(options: CheckOptions): Promise<number> {
  const { url, timeoutMs, waitMs, output, slowMs, now, write, columns } = options
  const progress = output === 'line' && waitMs !== undefined ? createProgress(write, columns, now) : undefined
  const timer = setInterval(() => progress?.tick(), 1_000)
  const finding =
    waitMs === undefined
      ? await ask(timeoutMs)
      : await waitForHealthy({ ask, timeoutMs, waitMs, now, onFinding: found => progress?.show(found) })
  clearInterval(timer)
  progress?.end(finding)

  if (output === 'nagios') {
    const { line, exitCode } = pluginResultOf(finding, finding.elapsedMs, slowMs, timeoutMs)
    write(`${line}\n`)
    return exitCode
  }
  if (output === 'line' && !progress) write(`${finding.line}\n`)
  return finding.state === 'healthy' ? 0 : 1

  async function ask(forMs: number) {
    const beganAt = now()
    const found = await askServer(url, forMs)
    return { ...found, elapsedMs: now() - beganAt }
  }
}

/** What `check` needs of the process. */
export interface Terminal {
  readonly now: () => number
  print(text: string): void
  /** Width of the terminal; undefined if there is none. */
  readonly columns: number | undefined
}

/** Runs the check command. Resolves with the exit code. */
export function check(
  command: CheckCommand,
  client: ClientConfig,
  { now, print, columns }: Terminal,
): Promise<number> {
  return runCheck({
    ...command,
    url: command.url ?? ownUrlOf(client),
    timeoutMs: command.timeoutMs ?? defaultTimeoutMs(client),
    slowMs: client.slowMs,
    now,
    write: print,
    columns,
  })
}

/** Longer than the server's deadline, so that its answer arrives before we give up. Milliseconds. */
export function defaultTimeoutMs({ timeoutMs }: Pick<ClientConfig, 'timeoutMs'>): number {
  return Math.max(5_000, timeoutMs + 1_000)
}
