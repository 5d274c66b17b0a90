// Owns the words for what a check found: the verdict, its reasons and their sentences.

/**
 * Why a check failed, and the sentence that a client reads. The list is closed, because the raw error may hold hosts,
 * users, databases and in one case the password. The raw error goes to the log only.
 */
export const sentences = {
  pool_exhausted: 'connection pool exhausted',
  unreachable: 'database unreachable',
  connect_timeout: 'database connection timed out',
  connection_lost: 'database connection lost',
  starting_up: 'database is starting up',
  shutting_down: 'database is shutting down',
  auth_failed: 'database authentication failed',
  no_database: 'database does not exist',
  tls: 'database TLS verification failed',
  timeout: 'health check timed out',
  bad_result: 'unexpected query result',
  stopping: 'server is shutting down',
  unknown: 'database error',
  standby: 'database is a standby',
  read_only: 'database is read-only',
  primary: 'database is a primary',
} as const

/** The name of a failure in logs and metrics. */
export type Reason = keyof typeof sentences

/**
 * What a server is. A standby is in recovery. A primary is `read_only` while `default_transaction_read_only` is on for the
 * server, the database or the user. A role makes a check unhealthy only if target_session_attrs excludes it.
 */
export type Role = 'primary' | 'read_only' | 'standby'

/** What each sentence covers, for people. */
export const meanings: Readonly<Record<Reason, string>> = {
  pool_exhausted: 'no connection is free: in your pool, in a pooler, on the server, or for this role',
  unreachable: 'connection refused, no route, unknown host name or missing socket',
  connect_timeout: 'no answer while connecting',
  connection_lost: 'the connection broke, or the peer is not PostgreSQL',
  starting_up: 'PostgreSQL is starting or recovering and does not accept connections yet',
  shutting_down: 'PostgreSQL is stopping',
  auth_failed: 'wrong password or role, rejected by pg_hba.conf, or no CONNECT privilege',
  no_database: 'the database does not exist or does not accept connections',
  tls: 'invalid certificate, wrong name, or TLS is required but not offered',
  timeout: 'the query did not finish in time',
  bad_result: 'SELECT 1 did not return 1',
  stopping: 'pg-health is stopping',
  unknown: 'anything else: see the log',
  standby: 'the server is in recovery, but one that takes writes is asked for',
  read_only: 'default_transaction_read_only is on, for the server, the database or the user',
  primary: 'the server is not in recovery, but a standby is asked for',
}

/** What a request is told about the database. Durations are milliseconds with decimals. */
export interface Verdict {
  readonly result: 'healthy' | Reason
  /**
   * What led to it: a check that ended; a request that reached its deadline while its check was still running; or our
   * own shutdown. Only a check has durations.
   */
  readonly by: 'check' | 'deadline' | 'shutdown'
  /** Time until a new session was ready, including time lost on a silent one. Absent if a session was already open. */
  readonly connectMs?: number
  /**
   * Time from sending SELECT 1 to its result. Absent if it was never sent. With a function of a service (`check`), the time
   * of the whole call: it includes the wait for a connection of the pool.
   */
  readonly queryMs?: number
  /** The raw failure, for the log only. */
  readonly error?: unknown
  /** The server's role. Absent if the check did not ask for it, or was not told. */
  readonly role?: Role
  /** Why the query for the role failed, or for the lag if the role is known, and the raw failure for the log. */
  readonly roleReason?: Reason
  readonly roleError?: unknown
  /** WAL that the standby has not replayed, bytes. Absent if the check did not ask, or the server can't say. */
  readonly lagBytes?: number
}

/** What requests are told from the moment the server starts to shut down. */
export const shutdownVerdict: Verdict = { result: 'stopping', by: 'shutdown' }

/** How long the check took, in milliseconds. Undefined if no check ended with this verdict. */
export function checkMsOf({ by, connectMs = 0, queryMs = 0 }: Verdict): number | undefined {
  return by === 'check' ? connectMs + queryMs : undefined
}
