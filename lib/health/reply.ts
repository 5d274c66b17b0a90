// Turns a verdict into the exact bytes that a client reads.
import { type LagReason, lagSentences } from './role.ts'
import { sentences, type Verdict } from './verdict.ts'

/** The status and the exact bytes of an answer. */
export interface Reply {
  readonly status: number
  readonly body: string
  /** JSON unless given. */
  readonly contentType?: string
  /** Names and values in turn, for what every answer of ours does not have anyway. */
  readonly headers?: readonly string[]
}

/** A space after each colon, none after the comma: the documented 45 bytes, which keyword monitors search. */
const healthy: Reply = { status: 200, body: '{"status": "healthy","database": "connected"}' }

/** Answers that rest on no check. */
export const alive: Reply = { status: 200, body: '{"status": "alive"}' }
export const notFound: Reply = { status: 404, body: '{"error": "not found"}' }
export const methodNotAllowed: Reply = { status: 405, body: '{"error": "method not allowed"}' }
export const badQuery: Reply = {
  status: 400,
  body: '{"error": "lag must be bytes, as in 1048576, 16MB or 1GB, and nothing else can be asked"}',
}
export const internalError: Reply = { status: 500, body: '{"error": "internal error"}' }

/**
 * Every answer a check can lead to, made once: the healthy one is the hot path.
 *
 * @param unhealthyStatus 503, unless somebody reads the body and wants another.
 */
export function repliesOf(unhealthyStatus: number): Readonly<Record<Verdict['result'], Reply>> {
  return { healthy, ...unhealthyOf(sentences, unhealthyStatus) }
}

/** The replies to a wish for a role. A no is 503 in any case: with 200 from every server, each would be the primary. */
export const roleReplies: Readonly<Record<Verdict['result'] | LagReason, Reply>> = {
  ...repliesOf(503),
  ...unhealthyOf(lagSentences, 503),
}

function unhealthyOf<Name extends string>(
  texts: Readonly<Record<Name, string>>,
  status: number,
): Record<Name, Reply> {
  const replies = Object.entries(texts).map(([reason, sentence]) => [
    reason,
    { status, body: `{"status": "unhealthy","error": "${sentence}"}` },
  ])
  return Object.fromEntries(replies)
}
