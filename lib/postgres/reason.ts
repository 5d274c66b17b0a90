// Gives each raw failure of PostgreSQL, a pooler, the driver, the network or TLS its reason.
import { codeOf } from '../error.ts'
import type { Reason, Role } from '../health/verdict.ts'
import { Expired } from './expiry.ts'
import { poolerReasonOf } from './pooler.ts'

/**
 * A server that answers, but has another role than `target_session_attrs` asks for, or does not tell its role. Then `code`
 * is that of its refusal, if it sent one.
 */
export class WrongRole extends Error {
  readonly role: Role | 'unknown'
  readonly code: string | undefined
  constructor(role: Role | 'unknown', refusal?: Error) {
    super(refusal?.message ?? (role === 'unknown' ? 'The role is unknown' : 'The server has another role'))
    this.role = role
    this.code = codeOf(refusal)
  }
}

/** TLS could not be established. `cause` is the error of OpenSSL or Node.js, and `code` is its code. */
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
  ENOTDIR: 'unreachable',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ENETDOWN: 'unreachable',
  // A firewall of this machine rejects it.
  EPERM: 'unreachable',
  // No local address is left, or none of the right kind.
  EADDRNOTAVAIL: 'unreachable',
  // A name that cannot be one, or fe80::1 without its interface.
  EINVAL: 'unreachable',
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

/**
 * Codes that poolers send with all kinds of failures, or none at all: connection exception, internal error, operator
 * intervention, system error, and a refused login, which may be due to missing TLS.
 */
const vagueCodes = /^$|^08|^XX000$|^57000$|^58000$|^28000$/

/**
 * Gives the reason of a failure.
 *
 * @param error anything that was thrown. Its message is only compared, never shown.
 */
export function reasonOf(error: unknown): Reason {
  if (error instanceof Expired) return error.reason
  if (error instanceof TlsFailure) return 'tls'
  if (error instanceof WrongRole) return error.role
  const code = codeOf(error) ?? ''
  const message = error instanceof Error ? error.message : ''
  const poolerReason = vagueCodes.test(code) ? poolerReasonOf(message) : undefined
  if (poolerReason !== undefined) return poolerReason
  if (code.startsWith('08')) return 'connection_lost'
  // One code for "starting up" and "shutting down" (57P03, PostgreSQL 9 to 18): only the words differ. If its
  // messages are not English, a stopping server is reported as starting up.
  if (code === '57P03' && message.includes('shutting down')) return 'shutting_down'
  // A server that refuses our certificate says so after the handshake (TLS 1.3).
  if (code.startsWith('ERR_SSL_')) return 'tls'
  if (code.startsWith('28') || code.startsWith('SASL_')) return 'auth_failed'
  return reasons[code] ?? 'unknown'
}
