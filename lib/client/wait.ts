// Asks again until a server is healthy, and shows a person what it is waiting for.
import type { Finding } from './ask.ts'

export interface WaitOptions<Found extends Finding> {
  /** Asks once, for at most this many milliseconds; never rejects. */
  readonly ask: (timeoutMs: number) => Promise<Found>
  /** What one try has, milliseconds. */
  readonly timeoutMs: number
  /** What all of them have together, milliseconds. */
  readonly waitMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Told of every finding. */
  readonly onFinding: (finding: Finding) => void
}

/** From the beginning of one try to that of the next, milliseconds. */
const spacingMs = 500

/** Asks until the answer is healthy or the time is up; resolves with the last finding, never rejects. */
export async function waitForHealthy<Found extends Finding>(options: WaitOptions<Found>): Promise<Found> {
  const { ask, timeoutMs, waitMs, now, onFinding } = options
  const until = now() + waitMs
  let last: Found | undefined
  for (;;) {
    const beganAt = now()
    const finding = await ask(Math.max(1, Math.min(timeoutMs, Math.round(until - beganAt))))
    // A try that the end of the wait cut short says less than the whole one before it.
    if (finding.state === 'failed' && now() >= until && last) return last
    last = finding
    onFinding(finding)
    const nextAt = Math.max(beganAt + spacingMs, now())
    if (finding.state === 'healthy' || nextAt >= until) return finding
    await new Promise(resolve => setTimeout(resolve, nextAt - now()))
  }
}

export interface Progress {
  /** Shows a finding. */
  show(finding: Finding): void
  /** Shows how long it has taken by now. */
  tick(): void
  /** Shows the last one, which stays. */
  end(finding: Finding): void
}

/**
 * Makes the display of a wait: on a terminal one line that is written anew, elsewhere a line for every change.
 *
 * @param columns the width of the terminal; undefined where there is none.
 */
export function createProgress(
  write: (text: string) => void,
  columns: number | undefined,
  now: () => number,
): Progress {
  const beganAt = now()
  let line = 'waiting for an answer'
  return columns === undefined ? { show: showChange, tick() {}, end: showChange } : { show, tick, end }

  function showChange(finding: Finding) {
    if (finding.line !== line) write(`${finding.line}\n`)
    line = finding.line
  }

  function show(finding: Finding) {
    line = finding.line
    tick()
  }

  function tick() {
    // A line that wraps could not be written anew.
    const text = `${Math.round((now() - beganAt) / 1000)} s ${line}`.slice(
      0,
      Math.max(1, (columns ?? 80) - 1),
    )
    write(`\r${text}\x1b[K`)
  }

  function end(finding: Finding) {
    write(`\r\x1b[K${finding.line}\n`)
  }
}
