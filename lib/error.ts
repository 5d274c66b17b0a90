// The errors that cross rooms, and what of an error may be logged.

/** Settings are wrong. Each fault is a sentence that names the setting and does not repeat its value. */
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
 * The code of an error, safe to log: an SQLSTATE of five characters, or a name such as ECONNREFUSED. When a name has two
 * addresses and both fail, Node throws an AggregateError with the code of the first and an empty message.
 */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' && /^[A-Z0-9_]{2,60}$/.test(error.code) ? error.code : undefined
}

/** Creates an error with a code, like those of the driver and the system. */
export function codedError(code: string, message = code): Error {
  return Object.assign(new Error(message), { code })
}

/** The parts of an error that may be logged. Not its message: that can hold hosts, users, and in one case the password. */
export function detailsOf(error: unknown) {
  if (!(error instanceof Error)) return { name: typeof error }
  const frames = error.stack?.split('\n').filter(line => /^ +at /.test(line))
  return { name: error.name, code: codeOf(error), stack: frames?.map(line => line.trim()).slice(0, 5) }
}
