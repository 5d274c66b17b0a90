// Answers what a load balancer asks about a server's role: whether it takes writes, or is a standby.
import type { Verdict } from './verdict.ts'

/** What a check asks the database. Each question includes those before it. */
export const questions = ['health', 'role', 'lag'] as const
export type Question = (typeof questions)[number]

/** What a request wants the server to be. */
export interface Wish {
  readonly role: 'primary' | 'standby'
  /** The most WAL, in bytes, that the standby may still have to replay. Undefined: any amount. */
  readonly maxLagBytes?: number
}

/** Sentences that only `/replica?lag=` can answer with. */
export const lagSentences = {
  lagging: 'standby lags behind',
  lag_unknown: 'standby lag unknown',
} as const

export type LagReason = keyof typeof lagSentences

/** What each sentence covers, for people. */
export const lagMeanings: Readonly<Record<LagReason, string>> = {
  lagging: 'the standby has more WAL left to replay than the request allows',
  lag_unknown: 'the standby receives no WAL, or the user is no member of pg_read_all_stats',
}

/** The question that a check must ask for this wish. */
export function questionOf({ maxLagBytes }: Wish): Question {
  return maxLagBytes === undefined ? 'role' : 'lag'
}

/** The question that includes both. */
export function deeperOf(one: Question, other: Question): Question {
  return questions.indexOf(one) > questions.indexOf(other) ? one : other
}

/** What the verdict says about a wish: `healthy`, or why not. It is never `healthy` if the role is unknown. */
export function resultFor({ role, maxLagBytes }: Wish, verdict: Verdict): Verdict['result'] | LagReason {
  if (verdict.result !== 'healthy') return verdict.result
  if (verdict.role === undefined) return verdict.roleReason ?? 'unknown'
  // A role is also a Reason: "database is a standby".
  if (verdict.role !== role) return verdict.role
  if (maxLagBytes === undefined) return 'healthy'
  if (verdict.lagBytes === undefined) return 'lag_unknown'
  return verdict.lagBytes > maxLagBytes ? 'lagging' : 'healthy'
}
