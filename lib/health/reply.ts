// Gives the reply to each result of a check: a status and the exact body.
import { type LagReason, lagSentences } from './role.ts'
import { sentences, type Verdict } from './verdict.ts'

/** The status and the exact body of a response. */
export interface Reply {
  readonly status: number
  readonly body: string
  /** JSON if absent. The body of a JSON reply is ASCII. */
  readonly contentType?: string
  /** Additional headers: name, value, name, value. */
  readonly headers?: readonly string[]
  /** The connection is closed after this reply. */
  readonly closes?: true
}

/** A space after each colon, none after the comma: the documented 45 bytes, which keyword monitors search for. */
const healthy: Reply = { status: 200, body: '{"status": "healthy","database": "connected"}' }

/** The reply of /livez: the process can answer. */
export const alive: Reply = { status: 200, body: '{"status": "alive"}' }
/** Closes, as does 405: a client with the wrong address may be about to upload something. */
export const notFound: Reply = { status: 404, body: '{"error": "not found"}', closes: true }
/** The name under which requests are counted that have no path of their own, or that the HTTP parser refuses. */
export const otherPath = 'other'
/** The path exists, but not for this method. */
export const methodNotAllowed: Reply = { status: 405, body: '{"error": "method not allowed"}', closes: true }
/** The reply to any query string except `lag=` on /replica. Patroni ignores such a query, and so applies no limit. */
export const badQuery: Reply = {
  status: 400,
  body: '{"error": "only /replica takes a query: lag in bytes, as in lag=1048576, lag=16MB or lag=1GB"}',
}
/** The reply to a request that failed because of an internal error. */
export const internalError: Reply = { status: 500, body: '{"error": "internal error"}', closes: true }

/**
 * The reply to each result of a check, made once for all requests.
 *
 * @param unhealthyStatus 503, or another for clients that read the body.
 */
export function repliesOf(unhealthyStatus: number): Readonly<Record<Verdict['result'], Reply>> {
  return { healthy, ...unhealthyOf(sentences, unhealthyStatus) }
}

/**
 * The replies on role paths. Always 503 for a wrong role: with HEALTH_UNHEALTHY_STATUS=200 a balancer would treat every
 * server as the primary.
 */
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
