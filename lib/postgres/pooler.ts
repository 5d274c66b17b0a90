// Knows the words of poolers and hosted databases: their error codes say little, their messages say why.

import type { Reason } from '../health/verdict.ts'

type Row = readonly [message: RegExp, reason: Reason, source: string]

/**
 * Known messages, each with where it was read. The first row that matches counts. PgBouncer sends 08P01 with everything,
 * also when it forwards PostgreSQL's answer to its own login; the others mostly send XX000.
 */
const rows: readonly Row[] = [
  [/^SSL required$/, 'tls', 'PgBouncer 1.18 to 1.25'],
  [/(SSL is|TLS connection) required$/, 'tls', 'Odyssey, August 2026'],
  [/SSL connection (is )?required/, 'tls', 'Supavisor 2.0 to 2.9; CockroachDB 20 to 25; Azure'],
  [/requires TLS connections|allowed only with SSL connections/, 'tls', 'RDS Proxy, its manual'],
  [/connection is insecure/, 'tls', 'Neon proxy, 2022 to 2025'],

  [/no more connections allowed|client connections exceeded/, 'pool_exhausted', 'PgBouncer 1.18 to 1.25'],
  [/^query_wait_timeout$/, 'pool_exhausted', 'PgBouncer 1.18 to 1.25'],
  [/max (client connections|clients|pools count) reached/i, 'pool_exhausted', 'Supavisor 1.0 to 2.9'],
  [/unable to check out|failed to check out/i, 'pool_exhausted', 'Supavisor 2.0 to 2.9'],
  [/Timed-out waiting to acquire/, 'pool_exhausted', 'RDS Proxy, its manual'],
  [/connections? to (the )?proxy exceeded|too many competing/, 'pool_exhausted', 'RDS Proxy, its manual'],
  [/too many (database )?connection/i, 'pool_exhausted', 'Neon proxy, 2025; PostgreSQL 9 to 18'],
  [/too many clients|connection slots are reserved/, 'pool_exhausted', 'PostgreSQL 9 to 18 behind a pooler'],
  [/could not get connection from the pool/, 'pool_exhausted', 'PgCat 0.6 to 1.2'],

  [/^no such database|database ".*" is disabled$/, 'no_database', 'PgBouncer 1.18 to 1.25'],
  [
    /database ".*" does not exist|accepting connections$/,
    'no_database',
    'PostgreSQL 9 to 18 behind a pooler',
  ],
  [/route for '.*' is not found/, 'no_database', 'Odyssey 1.0 to August 2026'],
  [/endpoint (is disabled|cannot be found)/, 'no_database', 'Neon proxy, 2025'],

  [/authentication failed|login rejected|^no such user/i, 'auth_failed', 'PgBouncer, pgpool-II, RDS Proxy'],
  [/^failed to authenticate with backend/, 'auth_failed', 'pgpool-II 4.3'],
  [/^server login failed/, 'auth_failed', 'PgBouncer 1.18 to 1.25, its own password for PostgreSQL'],
  [
    /role ".*" (does not exist|is not permitted)|pg_hba\.conf/,
    'auth_failed',
    'PostgreSQL 9 to 18 behind a pooler',
  ],
  [/proxy has no credentials|password .*role .* is wrong/i, 'auth_failed', 'RDS Proxy, its manual'],
  [/tenant.*user.* not found|no tenant identifier/i, 'auth_failed', 'Supavisor 1.0 to 2.9'],
  [/not in tenant allow_list|^(\(\w+\) )?Authentication error/i, 'auth_failed', 'Supavisor 1.0 to 2.9'],
  [/not allowed to connect to this endpoint|from a blocked network/, 'auth_failed', 'Neon proxy, 2025'],

  [/server login has been failing|\(server down\)/, 'unreachable', 'PgBouncer 1.18 to 1.25'],
  [/all backend nodes are down|not accepting any new/, 'unreachable', 'pgpool-II 4.3'],
  [/failed to connect to (remote server|database)/i, 'unreachable', 'Odyssey, August 2026; Supavisor 2.9'],
  [/exceeded the .* quota|temporarily unavailable/, 'unreachable', 'Neon, 2023 to 2026'],

  [
    /database system is (starting up|not yet|in recovery)/,
    'starting_up',
    'PostgreSQL 9 to 18 behind a pooler',
  ],
  [/(system|pooler|server) (is )?shutting down/, 'shutting_down', 'PgBouncer 1.24; PostgreSQL 9 to 18'],
]

/**
 * How much of a message is compared. Every known message is shorter. Some patterns take time that grows with the square or
 * the cube of the length: 240 kB blocked the event loop for seconds, 500 characters take less than a millisecond.
 */
const maxLength = 500

/** The reason that a pooler's message names, or undefined when it is none of the known ones. */
export function poolerReasonOf(message: string): Reason | undefined {
  const start = message.slice(0, maxLength)
  return rows.find(([known]) => known.test(start))?.[1]
}
