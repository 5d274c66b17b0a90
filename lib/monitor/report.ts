// Decides which verdicts and refused requests are worth a line in the log.
import { ConfigError, codeOf } from '../error.ts'
import { checkMsOf, type Reason, sentences, type Verdict } from '../health/verdict.ts'
import type { Log } from './log.ts'
import { scrubbed } from './scrub.ts'
import { createThrottle } from './throttle.ts'

export interface ReportOptions {
  readonly log: Log
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** A healthy check that takes longer than this is slow, milliseconds. */
  readonly slowMs: number
}

export interface Report {
  /**
   * Takes every verdict. Logs the first one, every change between healthy and unhealthy, each reason once per outage,
   * a reminder once a minute during an outage, slow checks, and changes of the server's role.
   */
  observe(verdict: Verdict): void
  /** Takes the status of a request that the HTTP parser refused. Logs at most one line a minute, with the counts. */
  onRefused(status: number): void
}

const reminderMs = 60_000

/** Makes the report. Nothing has been observed yet. */
export function createReport(options: ReportOptions): Report {
  const outages = createOutages(options)
  const slowness = createSlowness(options)
  const refusals = createRefusals(options)
  const roles = createRoles(options)
  return {
    observe(verdict) {
      outages.observe(verdict)
      slowness.observe(verdict)
      roles.observe(verdict)
      // What was counted may have waited for its minute.
      refusals.flush()
    },
    onRefused: refusals.count,
  }
}

/** Logs the changes between healthy and unhealthy, and what happens during an outage. */
function createOutages({ log, now }: ReportOptions) {
  let healthy: boolean | undefined
  let since = now()
  let remindedAt = since
  let failures = 0
  let seen = new Set<Reason>()
  return { observe }

  function observe(verdict: Verdict) {
    const { result } = verdict
    if (result !== 'healthy') return observeFailure(result, verdict)
    if (healthy === true) return
    const change = enter(true)
    log('healthy', `healthy${change.text}`, { ...change.fields, ...durationsOf(verdict) })
  }

  function observeFailure(reason: Reason, verdict: Verdict) {
    const { words, fields } = describe(reason, verdict)
    if (healthy !== false) {
      const change = enter(false)
      log('unhealthy', `unhealthy: ${words}${change.text}`, { ...fields, ...change.fields })
    } else if (!seen.has(reason)) {
      log('unhealthy', `still unhealthy, but now: ${words}`, fields)
    } else if (now() - remindedAt >= reminderMs) {
      const forMs = Math.round(now() - since)
      const text = `still unhealthy after ${seconds(forMs)}, ${failures + 1} checks failed: ${words}`
      log('still_unhealthy', text, { ...fields, forMs, failures: failures + 1 })
      remindedAt = now()
    }
    seen.add(reason)
    failures += 1
  }

  /** Enters the other state, and says how long the last one lasted. Before the first result there was none. */
  function enter(to: boolean) {
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

/** Logs a healthy check that is slow while the one before was not: at most once a minute, because it may flap. */
function createSlowness({ log, now, slowMs }: ReportOptions) {
  const throttle = createThrottle<'slow'>(now)
  let isSlow = false
  let last: Verdict | undefined
  return { observe }

  function observe(verdict: Verdict) {
    if (verdict.result === 'healthy') {
      const wasSlow = isSlow
      isSlow = (checkMsOf(verdict) ?? 0) > slowMs
      if (isSlow && !wasSlow) {
        last = verdict
        throttle.count('slow')
      }
    }
    const count = throttle.take()?.get('slow')
    if (count === undefined || last === undefined) return
    const took = `slow: the check took ${Math.round(checkMsOf(last) ?? 0)} ms`
    const more = count > 1 ? ` (${count} times slow since the last such line)` : ''
    log('slow', took + more, { count, ...durationsOf(last) })
  }
}

/** Logs what the server is, or why its role or lag is unknown, when that changes: at most once a minute. */
function createRoles({ log, now }: ReportOptions) {
  const throttle = createThrottle<'role'>(now)
  let last: Verdict | undefined
  return { observe }

  function observe(verdict: Verdict) {
    const { role, roleReason, lagBytes } = verdict
    // A check that asked for no lag does not end the failure of one that did.
    const isNew =
      role !== last?.role || (roleReason !== last?.roleReason && (roleReason || lagBytes !== undefined))
    if ((role || roleReason) && isNew) {
      throttle.count('role')
      last = verdict
    }
    if (last === undefined || throttle.take() === undefined) return
    const code = codeOf(last.roleError)
    const unknown = last.roleReason && `${last.role ? 'lag' : 'role'} unknown${code ? ` (${code})` : ''}`
    log('role', [last.role && sentences[last.role], unknown].filter(Boolean).join(', '), {
      ...(last.role && { role: last.role }),
      ...(last.roleReason && { reason: last.roleReason }),
      ...(code && { code }),
    })
  }
}

/** Logs how many requests the HTTP parser refused, by status: at most once a minute. */
function createRefusals({ log, now }: ReportOptions) {
  const throttle = createThrottle<number>(now)
  return { count, flush }

  function count(status: number) {
    throttle.count(status)
    flush()
  }

  function flush() {
    const counts = throttle.take()
    if (counts === undefined) return
    const total = [...counts.values()].reduce((sum, each) => sum + each)
    const words = [...counts].map(([status, each]) => `${each} with status ${status}`).join(', ')
    const fields = { count: total, statuses: Object.fromEntries(counts) }
    log('requests_refused', `HTTP requests refused: ${words}`, fields)
  }
}

/** What may be said about a failure, for people and for machines. */
function describe(reason: Reason, verdict: Verdict) {
  const { error } = verdict
  const code = codeOf(error)
  // What the server or pooler said helps only if no reason explains the failure.
  const detail = isUnexplained(reason, code) && error instanceof Error ? scrubbed(error.message) : undefined
  // Settings that are read again may have become invalid. Their faults name the setting and hold no secret.
  const parts = error instanceof ConfigError ? [error.message] : [code, detail].filter(Boolean)
  return {
    words: `${sentences[reason]}${parts.length > 0 ? ` (${parts.join(': ')})` : ''}`,
    fields: { reason, ...(code && { code }), ...(detail && { detail }), ...durationsOf(verdict) },
  }
}

/** Class 08 is PgBouncer's SQLSTATE for almost everything. */
function isUnexplained(reason: Reason, code = ''): boolean {
  return reason === 'unknown' || (reason === 'connection_lost' && code.startsWith('08'))
}

function durationsOf({ connectMs, queryMs }: Verdict) {
  return {
    ...(connectMs !== undefined && { connectMs: tenths(connectMs) }),
    ...(queryMs !== undefined && { queryMs: tenths(queryMs) }),
  }
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
