// Turns the verdicts of thousands of checks into the few events that are worth a line.

import { ConfigError, codeOf } from '../error.ts'
import { checkMsOf, type Reason, sentences, type Verdict } from '../health/verdict.ts'

import type { Log } from './log.ts'

export interface ReportOptions {
  readonly log: Log
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** A healthy check that takes longer is worth a warning, milliseconds. */
  readonly slowMs: number
}

/** While the database stays unhealthy this often comes a reminder, milliseconds. */
const reminderMs = 60_000

/**
 * Makes the observer of all checks. It logs the first result, every change between healthy and unhealthy, a
 * reason the first time an outage shows it, a counted reminder once a minute, and each crossing of `slowMs`.
 */
export function createReport({ log, now, slowMs }: ReportOptions): (verdict: Verdict) => void {
  let healthy: boolean | undefined
  let since = now()
  let remindedAt = since
  let failures = 0
  let seen = new Set<Reason>()
  let slow = false

  return verdict => {
    const { result } = verdict
    if (result === 'healthy') observeHealthy(verdict)
    else observeUnhealthy(result, verdict)
  }

  function observeHealthy(verdict: Verdict) {
    if (healthy !== true) {
      const change = turn(true)
      log('info', 'healthy', `healthy${change.text}`, { ...change.fields, ...durationsOf(verdict) })
    }
    const checkMs = checkMsOf(verdict) ?? 0
    if (checkMs > slowMs && !slow) {
      log('warn', 'slow', `slow: the check took ${Math.round(checkMs)} ms`, durationsOf(verdict))
    }
    slow = checkMs > slowMs
  }

  function observeUnhealthy(reason: Reason, verdict: Verdict) {
    const code = codeOf(verdict.error)
    // Settings that are read again may have gone bad: their faults hold no secret, and are all there is to say.
    const detail = verdict.error instanceof ConfigError ? verdict.error.message : code
    const words = `${sentences[reason]}${detail ? ` (${detail})` : ''}`
    const fields = { reason, ...(code ? { code } : {}), ...durationsOf(verdict) }
    if (healthy !== false) {
      const change = turn(false)
      log('error', 'unhealthy', `unhealthy: ${words}${change.text}`, { ...fields, ...change.fields })
    } else if (!seen.has(reason)) {
      log('error', 'unhealthy', `still unhealthy, but now: ${words}`, fields)
    } else if (now() - remindedAt >= reminderMs) {
      const forMs = Math.round(now() - since)
      const text = `still unhealthy after ${seconds(forMs)}, ${failures + 1} checks failed: ${words}`
      log('error', 'still_unhealthy', text, { ...fields, forMs, failures: failures + 1 })
      remindedAt = now()
    }
    seen.add(reason)
    failures += 1
  }

  /** Turns the state over, and says how long the last one held; before the first result there was none. */
  function turn(to: boolean) {
    const first = healthy === undefined
    const heldMs = Math.round(now() - since)
    healthy = to
    since = now()
    remindedAt = since
    failures = 0
    seen = new Set()
    if (first) return { text: ' (first result)', fields: { first } }
    return { text: `, after ${seconds(heldMs)} ${to ? 'unhealthy' : 'healthy'}`, fields: { heldMs } }
  }
}

function durationsOf({ connectMs, queryMs }: Verdict) {
  return {
    ...(connectMs === undefined ? {} : { connectMs: Math.round(connectMs * 10) / 10 }),
    ...(queryMs === undefined ? {} : { queryMs: Math.round(queryMs * 10) / 10 }),
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
