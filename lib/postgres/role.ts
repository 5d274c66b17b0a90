// Asks PostgreSQL what it is: the queries for the role and the lag, and what their results mean.

import type { Conninfo } from '../conninfo/conninfo.ts'
import type { Role } from '../health/verdict.ts'

/** A query that is one text without parameters, in the form that the driver takes. */
export const sqlText = (text: TemplateStringsArray) => text

/**
 * One row with one word. It is a query because behind PgBouncer, the parameters reported at login can be stale: 1.18 still
 * sent `in_hot_standby = on` long after a promotion. A primary can refuse writes, too: pg_auto_failover
 * promotes with `default_transaction_read_only = on`, and scripts for a switchover fence the old primary with it.
 *
 * A promotion can come between the beginning of the query and its end. Then the server is not in recovery, and the
 * transaction is still read-only, although the default is not (18.4): it began on a standby.
 */
export const roleQuery = sqlText`/*NO QUERY CACHE*/ SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby' WHEN pg_catalog.current_setting('transaction_read_only') = 'off' THEN 'primary' WHEN pg_catalog.current_setting('default_transaction_read_only') = 'off' THEN 'standby' ELSE 'read_only' END`

/**
 * One row with the bytes of WAL that the upstream has and this standby has not replayed, or with NULL. NULL means that it
 * does not receive WAL, or that the user may not see it: without pg_read_all_stats the status is NULL. Bytes, because the
 * age of the last transaction grows on an idle primary. `latest_end_lsn` is NULL until the first message of a new stream.
 * `greatest`, because a receiver starts at the beginning of a segment. PostgreSQL 10 and later.
 */
export const lagQuery = sqlText`/*NO QUERY CACHE*/ SELECT (SELECT greatest(pg_catalog.pg_wal_lsn_diff(coalesce(latest_end_lsn, pg_catalog.pg_last_wal_receive_lsn()), pg_catalog.pg_last_wal_replay_lsn()), 0)::bigint FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming')`

const roles: readonly Role[] = ['primary', 'read_only', 'standby']

/** The role that the value of `roleQuery` says. Undefined if it is not a role. */
export function readRole(value: string | undefined): Role | undefined {
  return roles.find(role => role === value)
}

/** The bytes that the value of `lagQuery` says. Undefined if it is NULL. */
export function readLag(value: string | undefined): number | undefined {
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : undefined
}

const wanted: Readonly<Record<Conninfo['targetSessionAttrs'], readonly Role[] | undefined>> = {
  any: undefined,
  'read-write': ['primary'],
  'read-only': ['read_only', 'standby'],
  primary: ['primary', 'read_only'],
  standby: ['standby'],
  // A preference: a session that is open already stays, as with libpq.
  'prefer-standby': undefined,
}

/** The roles that fit. Undefined if any does. */
export function wantedRoles(attrs: Conninfo['targetSessionAttrs']): readonly Role[] | undefined {
  return wanted[attrs]
}
