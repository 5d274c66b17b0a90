// Gives each raw failure of PostgreSQL, the driver, the network or TLS its name.
import { codeOf } from '../error.ts'
import type { Reason } from '../health/verdict.ts'

/** Ends whatever waits for the database because its time is up; `reason` says what it was waiting for. */
export class Expired extends Error {
  readonly reason: 'connect_timeout' | 'timeout'
  constructor(reason: 'connect_timeout' | 'timeout') {
    super(reason)
    this.reason = reason
  }
}

/** TLS did not come about; `cause` is what OpenSSL or Node said, `code` its code. */
export class TlsFailure extends Error {
  readonly code: string | undefined
  constructor(cause: unknown) {
    super('No TLS connection', { cause })
    this.code = codeOf(cause)
  }
}

const reasons: Readonly<Record<string, Reason>> = {
  53300: 'pool_exhausted',
  ECONNREFUSED: 'unreachable',
  ENOENT: 'unreachable',
  EACCES: 'unreachable',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  ENOTFOUND: 'unreachable',
  EAI_AGAIN: 'unreachable',
  ETIMEDOUT: 'connect_timeout',
  CONNECTION_CLOSED: 'connection_lost',
  CONNECTION_DESTROYED: 'connection_lost',
  CONNECTION_ENDED: 'connection_lost',
  ECONNRESET: 'connection_lost',
  EPIPE: 'connection_lost',
  '57P03': 'starting_up',
  '57P01': 'shutting_down',
  '57P02': 'shutting_down',
  42501: 'auth_failed',
  '3D000': 'no_database',
  55000: 'no_database',
  57014: 'timeout',
}

/** PgBouncer answers 08P01 to everything; these are its words for "no connection to give" (1.18, 1.23). */
const poolerIsFull = /query_wait_timeout|no more connections allowed/

/**
 * Names a failure.
 *
 * @param error whatever was thrown; never shown to a caller.
 */
export function reasonOf(error: unknown): Reason {
  if (error instanceof Expired) return error.reason
  if (error instanceof TlsFailure) return 'tls'
  const code = codeOf(error) ?? ''
  const message = error instanceof Error ? error.message : ''
  if (code.startsWith('08')) return poolerIsFull.test(message) ? 'pool_exhausted' : 'connection_lost'
  // One code for "starting up" and "shutting down" (57P03, PostgreSQL 9 to 18); only the words differ, and
  // only a server that speaks another language is taken to be starting up when it stops.
  if (code === '57P03' && message.includes('shutting down')) return 'shutting_down'
  // A server that refuses our certificate says so after the handshake (TLS 1.3).
  if (code.startsWith('ERR_SSL_')) return 'tls'
  if (code.startsWith('28') || code.startsWith('SASL_')) return 'auth_failed'
  return reasons[code] ?? 'unknown'
}
