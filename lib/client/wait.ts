// Asks again until a server is healthy, and shows the progress.
import type { Finding } from './ask.ts'

export interface WaitOptions {
  /** Sends one request that takes at most `timeoutMs`. Never rejects. */
  readonly ask: (timeoutMs: number) => Promise<Finding>
  /** The time limit of one request. */
  readonly timeoutMs: number
  /** The time limit of all requests together. */
  readonly waitMs: number
  /** Monotonic clock, milliseconds. */
  readonly now: () => number
  /** Called with each finding. */
  readonly onFinding: (finding: Finding) => void
}

/** From the start of one request to the start of the next. */
const spacingMs = 500

/** Asks until the server is healthy or the time is up. Resolves with the last finding. Never rejects. */
export async function waitForHealthy(options: WaitOptions): Promise<Finding> {
  const { ask, timeoutMs, waitMs, now, onFinding } = options
  const until = now() + waitMs
  let last: Finding | undefined
  for (;;) {
    const startedAt = now()
    const finding = await ask(Math.max(1, Math.min(timeoutMs, Math.round(until - startedAt))))
    // The last request may have had too little time. Then the finding before it says more.
    if (finding.state === 'failed' && now() >= until && last) return last
    last = finding
    onFinding(finding)
    const nextAt = Math.max(startedAt + spacingMs, now())
    if (finding.state === 'healthy' || nextAt >= until) return finding
    await new Promise(resolve => setTimeout(resolve, nextAt - now()))
  }
}

export interface Progress {
  /** Shows a finding. */
  show(finding: Finding): void
  /** Shows the time that has passed. */
  tick(): void
  /** Shows the last finding, which stays on the screen. */
  end(finding: Finding): void
}

/**
 * Creates the progress display: one line that is overwritten on a terminal, else a line per change.
 *
 * @param columns width of the terminal; undefined if there is none.
 */
export function createProgress(
  write: (text: string) => void,
  columns: number | undefined,
  now: () => number,
): Progress {
  const startedAt = now()
  let line = 'waiting for an answer'
  if (columns === undefined) return { show: showChange, tick() {}, end: showChange }
  // A line that wraps cannot be overwritten.
  const maxLength = Math.max(1, columns - 1)
  return { show, tick, end }

  function showChange(finding: Finding) {
    if (finding.line !== line) write(`${finding.line}\n`)
    line = finding.line
  }

  function show(finding: Finding) {
    line = finding.line
    tick()
  }

  function tick() {
    const seconds = Math.round((now() - startedAt) / 1000)
    write(`\r${`${seconds} s ${line}`.slice(0, maxLength)}\x1b[K`)
  }

  function end(finding: Finding) {
    write(`\r\x1b[K${finding.line}\n`)
  }
}
