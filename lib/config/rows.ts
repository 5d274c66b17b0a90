// Kinds of settings, and how a table of them is read from environment variables.
import type { Environment } from '../conninfo/conninfo.ts'

/** One row of the table, in words. */
export interface Setting {
  readonly name: string
  /** Empty when there is none. */
  readonly defaultText: string
  /** What a value must be, unit included: "DRAIN_MS must be …". */
  readonly accepts: string
  readonly meaning: string
}

/** A setting of our own; `parse` gives undefined for what is not accepted. */
export interface Row<T> extends Setting {
  readonly defaultValue: T
  readonly parse: (text: string) => T | undefined
  /** What may be behind a value that is not accepted. */
  readonly hintOf?: (text: string) => string | undefined
}

/** What a table of rows gives when it is read. */
export type ValuesOf<Rows> = {
  readonly [Key in keyof Rows]: Rows[Key] extends Row<infer Value> ? Value : never
}

/** Reads the rows of a table from variables; an empty variable is unset. Adds a fault for each wrong one. */
export function readRows<Rows extends Record<string, Row<unknown>>>(
  rows: Rows,
  env: Environment,
  faults: string[],
) {
  const values = Object.entries(rows).map(([key, row]) => [key, readRow(row, env[row.name] ?? '', faults)])
  return Object.fromEntries(values) as ValuesOf<Rows>
}

function readRow<T>(
  { name, accepts, defaultValue, parse, hintOf }: Row<T>,
  text: string,
  faults: string[],
): T {
  if (text === '') return defaultValue
  const value = parse(text)
  if (value !== undefined) return value
  const hint = hintOf?.(text)
  faults.push(`${name} must be ${accepts}${hint ? `; ${hint}` : ''}`)
  return defaultValue
}

interface NumberRow {
  readonly name: string
  readonly defaultValue: number
  readonly from: number
  readonly to: number
  readonly meaning: string
}

/** A setting that is a whole number. */
export function wholeNumber({ name, defaultValue, from, to, meaning }: NumberRow, unit = ''): Row<number> {
  return {
    name,
    defaultText: String(defaultValue),
    accepts: `a whole number${unit} from ${from} to ${to}`,
    meaning,
    defaultValue,
    parse: text => (/^\d+$/.test(text) && +text >= from && +text <= to ? +text : undefined),
    hintOf: text => (text.startsWith('tcp://') ? serviceLinkHint : undefined),
  }
}

/** Kubernetes sets X_PORT=tcp://address:port for each Service X. */
const serviceLinkHint = 'it looks like a service link: set enableServiceLinks: false'

/** A setting that is a duration. */
export function milliseconds(row: NumberRow): Row<number> {
  return wholeNumber(row, ' of milliseconds')
}

/** A setting that is one of several words. */
export function oneOf<Word extends string, Default extends Word | undefined>(row: {
  readonly name: string
  readonly words: readonly Word[]
  readonly defaultValue: Default
  readonly defaultText?: string
  readonly meaning: string
}): Row<Word | Default> {
  const { name, words, defaultValue, defaultText = defaultValue ?? '', meaning } = row
  const parse = (text: string) => words.find(word => word === text)
  return { name, defaultText, accepts: `one of ${words.join(', ')}`, meaning, defaultValue, parse }
}
