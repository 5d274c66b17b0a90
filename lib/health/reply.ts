// Gives the reply to each result of a check: a status and the exact body.
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
/** The path exists, but not for this method. */
export const methodNotAllowed: Reply = { status: 405, body: '{"error": "method not allowed"}', closes: true }
/** The reply to a request that failed because of an error of our own. */
export const internalError: Reply = { status: 500, body: '{"error": "internal error"}', closes: true }

/**
 * The reply to each result of a check, made once for all requests.
 *
 * @param unhealthyStatus 503, or another for clients that read the body.
 */
export function repliesOf(unhealthyStatus: number): Readonly<Record<Verdict['result'], Reply>> {
  const unhealthy = Object.entries(sentences).map(([reason, sentence]) => [
    reason,
    { status: unhealthyStatus, body: `{"status": "unhealthy","error": "${sentence}"}` },
  ])
  return { healthy, ...Object.fromEntries(unhealthy) }
}
