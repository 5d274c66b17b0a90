// Reads the required role and lag limit from a request's path and query.
import type { Wish } from '../health/role.ts'

/** Bytes per unit, as PostgreSQL writes them. */
const units: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
  TB: 1024 ** 4,
}

/**
 * The wish for a role, with the limit of the lag in the query: `lag=16MB`. Undefined if the query is anything else. An
 * unreadable limit must not be ignored.
 *
 * @param query what follows the `?`; empty if there is none.
 */
export function readWish(role: Wish['role'], query: string): Wish | undefined {
  if (query === '') return { role }
  const [, digits, unit = 'B'] = /^lag=(\d{1,15})([kMGT]?B)?$/.exec(query) ?? []
  const bytes = units[unit]
  if (role !== 'standby' || digits === undefined || bytes === undefined) return undefined
  return { role, maxLagBytes: Number(digits) * bytes }
}
