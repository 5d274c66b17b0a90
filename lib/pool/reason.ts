// Gives each failure of a service's driver, pool or ORM its reason.
import type { Reason } from '../health/verdict.ts'
import { reasonOf } from '../postgres/reason.ts'

/** A check stopped waiting, at its deadline or for a shutdown; `reason` says what it waited for. */
export class GaveUp extends Error {
  override readonly name = 'GaveUp'
  readonly reason: Reason
  constructor(reason: Reason) {
    super(reason)
    this.reason = reason
  }
}

/** The answer was not the expected one; the message says what was wrong, without the answer itself. */
export class UnexpectedResult extends Error {
  override readonly name = 'UnexpectedResult'
}

/**
 * Codes, kinds, names and whole messages that say what failed. Most of these errors have no code (measured, unless
 * noted). If an update of a product changes a message, the reason becomes `unknown`; the verdict stays unhealthy.
 */
const reasons: ReadonlyMap<unknown, Reason> = new Map<string, Reason>([
  // pg-pool 3.14. Connections that are still opening count as taken.
  ['timeout exceeded when trying to connect', 'pool_exhausted'],
  ['Connection terminated due to connection timeout', 'connect_timeout'],
  ['Cannot use a pool after calling end on the pool', 'connection_lost'],
  // pg 8.23.
  ['timeout expired', 'connect_timeout'],
  ['Connection terminated', 'connection_lost'],
  ['Connection terminated unexpectedly', 'connection_lost'],
  ['Client has encountered a connection error and is not queryable', 'connection_lost'],
  ['Client was closed and is not queryable', 'connection_lost'],
  ['Query read timeout', 'timeout'],
  ['The server does not support SSL connections', 'tls'],
  ['There was an error establishing an SSL connection', 'tls'],
  // postgres.js 3.4.9.
  ['CONNECT_TIMEOUT', 'connect_timeout'],
  // Kysely 0.28, TypeORM 1.1, Knex 3.3 and Sequelize 6.37, when the pool has been closed.
  ['driver has already been destroyed', 'connection_lost'],
  ['Driver not Connected', 'connection_lost'],
  ['Unable to acquire a connection', 'connection_lost'],
  ['ConnectionManager.getConnection was called after the connection manager was closed!', 'connection_lost'],
  // Knex 3.3 and Sequelize 6.37 also say this when connecting is slow: it does not prove that the pool is full.
  ['KnexTimeoutError', 'timeout'],
  ['SequelizeConnectionAcquireTimeoutError', 'timeout'],
  // The kinds of Prisma's @prisma/adapter-pg 7.10.
  ['DatabaseNotReachable', 'unreachable'],
  ['SocketTimeout', 'connect_timeout'],
  ['ConnectionClosed', 'connection_lost'],
  ['TlsConnectionError', 'tls'],
  ['AuthenticationFailed', 'auth_failed'],
  ['DatabaseAccessDenied', 'auth_failed'],
  ['DatabaseDoesNotExist', 'no_database'],
  ['TooManyConnections', 'pool_exhausted'],
  // The codes of Prisma Client (from its documentation, not measured).
  ['P1000', 'auth_failed'],
  ['P1001', 'unreachable'],
  ['P1002', 'connect_timeout'],
  ['P1003', 'no_database'],
  ['P1008', 'timeout'],
  ['P1010', 'auth_failed'],
  ['P1011', 'tls'],
  ['P1017', 'connection_lost'],
  ['P2024', 'pool_exhausted'],
  ['P2037', 'pool_exhausted'],
])

/** The codes of Node.js and OpenSSL for a certificate or a handshake that failed. */
const tlsCodes =
  /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_(GET|VERIFY|DECRYPT|DECODE)_|INVALID_(CA|PURPOSE)$|HOSTNAME_MISMATCH$)/

/** ORMs wrap the error of their driver, some of them twice. */
const maxDepth = 5

/**
 * Gives the reason of the outermost error that is known. Never throws: an error that cannot be read is unknown.
 *
 * @param error anything that was thrown. Its message is only compared, never shown.
 */
export function poolReasonOf(error: unknown): Reason {
  try {
    return outermostReasonOf(error)
  } catch {
    // A getter of the error threw, or the error is a revoked proxy.
    return 'unknown'
  }
}

function outermostReasonOf(error: unknown): Reason {
  let inner = error
  for (let depth = 0; depth < maxDepth && typeof inner === 'object' && inner !== null; depth += 1) {
    if (inner instanceof GaveUp) return inner.reason
    if (inner instanceof UnexpectedResult) return 'bad_result'
    const reason = reasonOfOne(inner)
    if (reason !== 'unknown') return reason
    const { cause, driverError, original, parent } = inner as Record<string, unknown>
    inner = cause ?? driverError ?? original ?? parent
  }
  return 'unknown'
}

function reasonOfOne(error: object): Reason {
  const { code, originalCode, kind, name, message } = error as Record<string, unknown>
  if (typeof code === 'string' && tlsCodes.test(code)) return 'tls'
  const known = reasonOf(error)
  if (known !== 'unknown') return known
  // Knex 3.3 puts the query in front: `SELECT 1 - Connection terminated unexpectedly`.
  const end = typeof message === 'string' ? message.slice(message.lastIndexOf(' - ') + 3) : undefined
  for (const text of [code, kind, name, message, end]) {
    const reason = reasons.get(text)
    if (reason) return reason
  }
  // Prisma's adapter puts the SQLSTATE there.
  return reasonOf({ code: originalCode })
}
