// Starts a program as a child process, collects what it writes, and waits for lines and for its end.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'

/** A child process whose output is collected. */
export interface Child {
  readonly process: ChildProcess
  /** Everything that it has written so far, to standard output and standard error, in order of arrival. */
  output(): string
  /** What it has written to standard output alone. */
  stdout(): string
  /** What it has written to standard error alone. */
  stderr(): string
  /**
   * Resolves when the output matches, now or later, with the first group of `pattern`, or with the whole match where
   * there is no group. Skips the first `from` characters. Rejects with the output when the program ends before, or
   * when it has not matched for a minute.
   */
  said(pattern: RegExp, from?: number): Promise<string>
  /** Resolves with the exit code, or with the signal, when the program has ended and all its output has been read. */
  readonly ended: Promise<number | NodeJS.Signals | null>
}

/** Nothing that a test waits for takes this long, not even on a busy machine (milliseconds). */
const patienceMs = 60_000

/** Starts `command` with `args`. Its standard input is empty, unless `options.stdio` says otherwise. */
export function startChild(command: string, args: readonly string[], options: SpawnOptions = {}): Child {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  const text = { output: '', stdout: '', stderr: '' }
  const news = new EventEmitter().setMaxListeners(0)
  let over = false
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', chunk => {
      text[name] += chunk
      text.output += chunk
      news.emit('news')
    })
  }
  // Not 'exit', which may come before the last of the output.
  const ended = once(child, 'close').then(([code, signal]) => {
    over = true
    news.emit('news')
    return code ?? signal
  })
  // For callers that do not wait for the end: a command that cannot be started must not be an unhandled rejection.
  ended.catch(() => {})

  async function said(pattern: RegExp, from = 0) {
    const patience = AbortSignal.timeout(patienceMs)
    for (;;) {
      const found = pattern.exec(text.output.slice(from))
      if (found) return found[1] ?? found[0]
      if (over) throw new Error(`${command} ended with ${await ended}, before ${pattern}:\n${text.output}`)
      if (patience.aborted) throw new Error(`${command} has not written ${pattern}:\n${text.output}`)
      // `ended` rejects when the command cannot be started; the other wait is aborted after a minute.
      await Promise.race([once(news, 'news', { signal: patience }).catch(() => {}), ended])
    }
  }
  return {
    process: child,
    output: () => text.output,
    stdout: () => text.stdout,
    stderr: () => text.stderr,
    said,
    ended,
  }
}

/** Runs `command` to its end. Resolves with the exit code, or the signal, and with all that it has written. */
export async function runChild(command: string, args: readonly string[], options: SpawnOptions = {}) {
  const { ended, output, stdout, stderr } = startChild(command, args, options)
  const code = await ended
  return { code, output: output(), stdout: stdout(), stderr: stderr() }
}
