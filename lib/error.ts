// The errors that cross rooms, and what of an error may be logged.

/** What the operator has to put right: `faults` are sentences that name the setting and repeat no value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(faults.join('; '))
    this.faults = faults
  }
}

/** A value, or every fault that was found: sentences that name the setting and repeat no value. */
export type Result<T> = { readonly value: T } | { readonly faults: readonly string[] }

/** The command line can't be understood; the message says what was expected. */
export class UsageError extends Error {
  /** How the command line wants its output, as far as it could be read. */
  readonly output: 'line' | 'nagios'

  constructor(message: string, output: 'line' | 'nagios' = 'line') {
    super(message)
    this.output = output
  }
}

/**
 * The code of a failure, safe to log: five characters of SQLSTATE, or a name such as ECONNREFUSED. Node gives an
 * AggregateError (a name with two addresses, both refused) the code of its first; its message is empty.
 */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' && /^[A-Z0-9_]{2,60}$/.test(error.code) ? error.code : undefined
}

/** Makes an error like those of the driver and the system: known by its code. */
export function codedError(code: string, message = code): Error {
  return Object.assign(new Error(message), { code })
}

/** What of an error may be logged: its message may hold hosts, users, and in one case the password. */
export function detailsOf(error: unknown) {
  if (!(error instanceof Error)) return { name: typeof error }
  const frames = error.stack?.split('\n').filter(line => /^ +at /.test(line))
  return { name: error.name, code: codeOf(error), stack: frames?.map(line => line.trim()).slice(0, 5) }
}
