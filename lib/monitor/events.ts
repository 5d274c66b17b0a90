// Lists the events of the log: the level, the fields and the meaning of each.
import type { Reason, Role } from '../health/verdict.ts'

export type Level = 'info' | 'warn' | 'error'

/** The fields of the events. Durations are milliseconds. None may hold a secret. */
interface FieldTypes {
  readonly version: string
  /** The database URL with its password masked. */
  readonly database: string
  readonly url: string
  readonly fd: number
  readonly port: number
  /** A SQLSTATE, or the name of a system or driver error, such as ECONNREFUSED. */
  readonly code: string
  readonly first: boolean
  /** How long the state before lasted. */
  readonly heldMs: number
  readonly connectMs: number
  readonly queryMs: number
  readonly reason: Reason
  readonly role: Role
  /** The server's message without names and values. */
  readonly detail: string
  /** How long the state has lasted. */
  readonly forMs: number
  readonly failures: number
  readonly count: number
  /** How many requests were refused, by status. */
  readonly statuses: Readonly<Record<string, number>>
  /** The setting that names the file. */
  readonly setting: string
  readonly signal: string
  readonly drainMs: number
  /** The class of an error. */
  readonly name: string
  readonly stack: readonly string[]
}

interface EventRow {
  readonly level: Level
  readonly fields: readonly (keyof FieldTypes)[]
  /** For people: one or two sentences, printed in docs/monitoring.md. */
  readonly meaning: string
}

/** Every event that can be logged. docs/monitoring.md has this table, and a test compares the two. */
export const events = {
  start: {
    level: 'info',
    fields: ['version', 'database'],
    meaning: 'The program starts. `database` is the database URL with its password masked.',
  },
  parameters_left_out: {
    level: 'warn',
    fields: [],
    meaning: 'Parameters of the database URL are ignored; the message names them.',
  },
  listening: { level: 'info', fields: ['url', 'fd'], meaning: 'The port is open.' },
  listen_failed: {
    level: 'error',
    fields: ['code', 'port', 'fd'],
    meaning: 'The port could not be opened. The program exits.',
  },
  healthy: {
    level: 'info',
    fields: ['first', 'heldMs', 'connectMs', 'queryMs'],
    meaning: 'The first check was healthy, or the database has recovered after `heldMs`.',
  },
  unhealthy: {
    level: 'error',
    fields: ['reason', 'code', 'detail', 'first', 'heldMs', 'connectMs', 'queryMs'],
    meaning: 'The database became unhealthy, or it fails for a reason that is new in this outage.',
  },
  still_unhealthy: {
    level: 'error',
    fields: ['reason', 'code', 'detail', 'forMs', 'failures', 'connectMs', 'queryMs'],
    meaning: 'A reminder during an outage, at most once a minute, with the number of failed checks.',
  },
  slow: {
    level: 'warn',
    fields: ['count', 'connectMs', 'queryMs'],
    meaning:
      'A healthy check took longer than `HEALTH_SLOW_MS`, and the check before it did not. At most once a minute; `count` is how often this happened since the last line.',
  },
  role: {
    level: 'info',
    fields: ['role', 'reason', 'code'],
    meaning:
      'A check that asked for the role of the server found another one than before, or was not told it, or not the lag: then `reason` says why. At most once a minute.',
  },
  stale_secret: {
    level: 'warn',
    fields: [],
    meaning:
      'A file with a password or a database URL is empty or cannot be read; the message says which. The last good value is used.',
  },
  requests_refused: {
    level: 'warn',
    fields: ['count', 'statuses'],
    meaning:
      'The HTTP parser refused requests: 400 malformed, 408 too slow, 413 or 431 too large. At most once a minute, with the number by status since the last line.',
  },
  request_failed: {
    level: 'error',
    fields: ['name', 'code', 'stack'],
    meaning: 'An internal error. The client got status 500.',
  },
  accept_failed: {
    level: 'error',
    fields: ['name', 'code', 'stack'],
    meaning: 'A connection could not be accepted, for example because file descriptors ran out.',
  },
  notify_failed: {
    level: 'warn',
    fields: ['code'],
    meaning: '`systemd-notify` is missing or failed. Logged once.',
  },
  unhandled_rejection: {
    level: 'error',
    fields: ['name', 'code', 'stack'],
    meaning: 'An internal error. The session with the database was dropped; the next check opens another.',
  },
  uncaught_exception: {
    level: 'error',
    fields: ['name', 'code', 'stack'],
    meaning: 'An internal error. The program exits with code 70.',
  },
  stopping: {
    level: 'info',
    fields: ['signal', 'drainMs'],
    meaning: 'The shutdown started. The port closes after `drainMs`.',
  },
  killed: {
    level: 'error',
    fields: ['signal'],
    meaning:
      'A signal that ends the program without a shutdown, such as SIGQUIT. The exit code is 128 and its number.',
  },
  stopped: { level: 'info', fields: [], meaning: 'The shutdown is complete. The program exits with code 0.' },
  stop_failed: {
    level: 'error',
    fields: ['code'],
    meaning: 'A step of the shutdown failed. The program exits with code 1.',
  },
  stop_overdue: {
    level: 'error',
    fields: [],
    meaning: 'The shutdown took too long. The program exits with code 1.',
  },
} as const satisfies Readonly<Record<string, EventRow>>

/** The name of an event. */
export type Event = keyof typeof events

/** The fields that an event may have; the compiler refuses all others. */
export type FieldsOf<Name extends Event> = {
  readonly [Field in keyof FieldTypes]?: Field extends (typeof events)[Name]['fields'][number]
    ? FieldTypes[Field] | undefined
    : never
}
