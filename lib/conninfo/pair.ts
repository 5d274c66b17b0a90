// Types of what was written: names and values in some form; and which values are placeholders.

/** Who reads this form; where words mean different things, each is followed in its own form. */
export type Dialect = 'libpq' | 'sqlalchemy' | 'jdbc' | 'dotnet'

/** One parameter as it was written. */
export interface Pair {
  readonly name: string
  /** Undefined: it has a name alone. */
  readonly value: string | undefined
  /** False: the name may be a piece of a password, and must not be repeated. */
  readonly isSafe: boolean
}

export interface Form {
  readonly dialect: Dialect
  readonly pairs: readonly Pair[]
  /** What is wrong with single values; they have no pair. */
  readonly faults: readonly string[]
}

/** `<host>`, `[username]`, `${HOST}`: a whole value that somebody was to replace. `[YOUR-PASSWORD]` may be one. */
export function isPlaceholder(name: string | undefined, text: string): boolean {
  if (/^(<[^<>]*>|\$\{.*\}|\{\{.*\}\})$/s.test(text)) return true
  return name !== 'password' && (/\$\{|\{\{/.test(text) || (name === 'user' && /^\[.*\]$/.test(text)))
}

/** The fault of a placeholder. */
export function placeholderFault(name: string | undefined): string {
  return `has a placeholder as its ${name ?? 'parameter'}: replace it by the value`
}

/** Whether a text looks like the name of a parameter. */
export function isName(text: string): boolean {
  return /^[\w .-]{1,40}$/.test(text)
}
