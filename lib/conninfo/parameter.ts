// What is known about one connection parameter, and how names of parameters are compared.

/** One parameter of a connection string. */
export interface Parameter {
  /** libpq's name; a driver's where libpq has none. Case, `-`, `_` and spaces do not matter. */
  readonly name: string
  /** Names with the same meaning in drivers. */
  readonly aliases?: readonly string[]
  /** libpq's environment variable. */
  readonly variable?: string
  /** `word`: a driver's word that is translated into libpq's; `place`: honoured, and says which database. */
  readonly use: 'place' | 'honoured' | 'word' | 'left out' | 'refused'
  /** What applies when it is not set; absent when there is nothing. */
  readonly defaultText?: string
  /** What a value must be: "PGPORT must be …". */
  readonly accepts?: string
  /** What it is for; of one that is refused, what to do instead. */
  readonly meaning: string
  /** Values that are refused although others are left out. */
  readonly refuses?: string
}

/** Rows of the table that share their use. */
export function used(use: Parameter['use'], table: readonly Omit<Parameter, 'use'>[]): Parameter[] {
  return table.map(row => ({ ...row, use }))
}

/** Rows of parameters without a value of their own here; the variable is empty when there is none. */
export function rows(
  use: 'left out' | 'refused',
  table: readonly (readonly [name: string, variable: string, meaning: string])[],
): Parameter[] {
  return table.map(([name, variable, meaning]) => ({ name, use, meaning, ...(variable ? { variable } : {}) }))
}

/** Parameters that are left out for the same reason; their names, with spaces between. */
export function named(names: string, meaning: string): Parameter[] {
  return rows(
    'left out',
    names
      .trim()
      .split(/\s+/)
      .map(name => [name, '', meaning]),
  )
}

/** A name or a word without what spellings differ in: `SSL Mode`, `ssl-mode` and `sslmode` are one. */
export function plainNameOf(text: string): string {
  return text.toLowerCase().replace(/[-_ ]/g, '')
}

/** A parameter that is not known, but whose name is about trust or place: it can't just be left out. */
export function mattersByName(spelling: string): boolean {
  return /^(ssl|tls|cert|host|auth|channel|target|service)/.test(plainNameOf(spelling))
}
