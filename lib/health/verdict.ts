// Owns the words for what a check found: the verdict, its reasons and their sentences.

/**
 * Why a check failed, and the sentence the caller reads. A closed list: the raw error carries hosts, users,
 * databases, in one case the password, so it goes no further than the log.
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
} as const

/** The name of a failure, as logs and metrics spell it. */
export type Reason = keyof typeof sentences

/** What the sentence of each reason covers, for people. */
export const meanings: Readonly<Record<Reason, string>> = {
  pool_exhausted: 'server, role or PgBouncer has no connection to give',
  unreachable: 'refused, no route, unknown name, missing socket',
  connect_timeout: 'nobody answered while it was connecting',
  connection_lost: 'the connection broke, or what answers is no PostgreSQL',
  starting_up: 'it starts or recovers, and takes no sessions yet',
  shutting_down: 'it stops',
  auth_failed: 'password, role, pg_hba.conf or the right to connect',
  no_database: 'no such database, or one that takes no sessions',
  tls: 'certificate, name, or no TLS where it is required',
  timeout: 'the statement did not end in time',
  bad_result: 'SELECT 1 did not return 1',
  stopping: 'this program stops',
  unknown: 'anything else: look into the log',
}

/** What one check found. Durations are milliseconds with decimals. */
export interface Verdict {
  readonly result: 'healthy' | Reason
  /** From the check's begin until a new session stood, what a silent one was given included; absent when one was ready. */
  readonly connectMs?: number
  /** From when the last statement was put, and nothing else was left to do, to its end; absent when none was put. */
  readonly queryMs?: number
  /** The raw failure, for the log alone. */
  readonly error?: unknown
}

/** Milliseconds that the check took; undefined of what requests are told whose time is up while it goes on. */
export function checkMsOf({ connectMs, queryMs }: Verdict): number | undefined {
  return connectMs === undefined && queryMs === undefined ? undefined : (connectMs ?? 0) + (queryMs ?? 0)
}
