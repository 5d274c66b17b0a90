// Reads the options of createHealth(), and names every fault.
import { type Config, type ReadFile, readConfig } from '../config/config.ts'
import { ownSettings } from '../config/settings.ts'
import { ConfigError } from '../error.ts'
import type { Verdict } from '../health/verdict.ts'
import type { PoolSourceOptions } from '../pool/source.ts'
import type { HealthOptions, PoolOptions } from './api.ts'

/** The options, checked, with their defaults. */
export interface Settings {
  readonly timeoutMs: number
  readonly unhealthyStatus: number
  readonly prefix: string
  readonly pages: boolean
  readonly onVerdict: (verdict: Verdict) => void
  readonly source: PoolSettings | DatabaseSettings
}

/** The service gives its pool. */
export interface PoolSettings extends Omit<PoolSourceOptions, 'now'> {
  readonly kind: 'pool'
}

/** The service gives a URL, for a dedicated connection. */
export interface DatabaseSettings
  extends Pick<Config, 'readConninfo' | 'connectTimeoutMs' | 'sessionMaxAgeMs' | 'leftOut'> {
  readonly kind: 'database'
}

const names = Object.keys({
  check: true,
  database: true,
  expect: true,
  maxPending: true,
  onVerdict: true,
  pages: true,
  prefix: true,
  timeoutMs: true,
  unhealthyStatus: true,
} satisfies Record<keyof HealthOptions, true>)

/** Checks the options. Throws ConfigError with every fault there is. `readFile` reads the files that `database` names. */
export function readOptions(given: HealthOptions, readFile: ReadFile): Settings {
  if (typeof given !== 'object' || given === null) throw new ConfigError([noSource])
  const faults = unknownOf(given)
  const { prefix = '', pages = false, onVerdict = () => {} } = given
  if (typeof prefix !== 'string' || !/^(\/[\w.~%+@:-]+)*$/.test(prefix)) {
    faults.push('prefix must begin with a slash, and not end with one, like /internal')
  }
  if (typeof pages !== 'boolean') faults.push('pages must be true or false')
  if (typeof onVerdict !== 'function') faults.push('onVerdict must be a function')
  const common = {
    timeoutMs: readNumber(given, 'timeoutMs', faults),
    unhealthyStatus: readNumber(given, 'unhealthyStatus', faults),
    prefix,
    pages,
    onVerdict,
  }
  const source = readSourceOptions(given, readFile, faults)
  if (source === undefined || faults.length > 0) throw new ConfigError(faults)
  return { ...common, source }
}

/** One fault for all names that are unknown: who passes a pool or a client in place of the options gives many. */
function unknownOf(given: HealthOptions): string[] {
  const unknown = Object.keys(given).filter(name => !names.includes(name))
  if (unknown.length === 0) return []
  const shown = unknown.slice(0, 3).map(name => (/^\w{1,40}$/.test(name) ? name : 'an option'))
  const more = unknown.length > 3 ? ` and ${unknown.length - 3} more` : ''
  const verb = unknown.length === 1 ? 'is' : 'are'
  return [`${shown.join(', ')}${more} ${verb} unknown; known are ${names.join(', ')}`]
}

/** Range, default and wording come from the program's settings. */
function readNumber(given: HealthOptions, name: 'timeoutMs' | 'unhealthyStatus', faults: string[]): number {
  const { parse, accepts, defaultValue } = ownSettings[name]
  const value: unknown = given[name] === undefined ? defaultValue : given[name]
  const parsed = typeof value === 'number' ? parse(String(value)) : undefined
  if (parsed === undefined) faults.push(`${name} must be ${accepts}`)
  return parsed ?? defaultValue
}

const noSource = 'check or database must be given: the pool of the service, or a dedicated connection'
const noValue = 'database is undefined: is its environment variable set?'

function readSourceOptions(
  given: HealthOptions,
  readFile: ReadFile,
  faults: string[],
): Settings['source'] | undefined {
  const { check, database, expect, maxPending } = given
  if (check !== undefined && database !== undefined)
    faults.push('check and database are both given: it must be one')
  else if (database !== undefined) {
    for (const [name, value] of Object.entries({ expect, maxPending })) {
      if (value !== undefined) faults.push(`${name} needs check: it has no effect on a dedicated connection`)
    }
    return readDatabase(database, readFile, faults)
  } else if (check === undefined) faults.push('database' in given ? noValue : noSource)
  else return readCheck({ check, expect, maxPending }, faults)
  return undefined
}

function readCheck(
  { check, expect, maxPending = 2 }: Pick<PoolOptions, 'check' | 'expect' | 'maxPending'>,
  faults: string[],
): PoolSettings {
  // A promise settles once, so it cannot report the current state.
  if (typeof check !== 'function') faults.push('check must be a function that returns a promise')
  if (!Number.isInteger(maxPending) || maxPending < 1 || maxPending > 10) {
    faults.push('maxPending must be a whole number from 1 to 10')
  }
  if (typeof expect === 'function' || (typeof expect === 'object' && expect !== null)) {
    faults.push('expect must be a string, a number, a bigint, a boolean or null: it is compared by Object.is')
  }
  return { kind: 'pool', check, maxPending, ...(expect !== undefined && { expect }) }
}

function readDatabase(database: string, readFile: ReadFile, faults: string[]): DatabaseSettings | undefined {
  if (typeof database !== 'string' || database.trim() === '') {
    faults.push('database must be a postgres:// URL: it is empty, or not a string')
    return undefined
  }
  try {
    const config = readConfig({ DATABASE_URL: database }, readFile, '')
    const { readConninfo, connectTimeoutMs, sessionMaxAgeMs, leftOut } = config
    return { kind: 'database', readConninfo, connectTimeoutMs, sessionMaxAgeMs, leftOut }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    faults.push(...error.faults.map(fault => inWordsOfOptions(fault)))
    return undefined
  }
}

/** The program's faults name environment variables; here the option is called `database`. */
function inWordsOfOptions(fault: string): string {
  return fault
    .replace(/^PGUSER must be set.*/, 'database must name a user')
    .replaceAll('DATABASE_URL', 'database')
}
