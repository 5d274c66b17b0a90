// Reads the settings: all of them, once, or an error naming each fault.
import { isIP } from 'node:net'
import { ConfigError } from '../error.ts'
import {
  type CertifiedConninfo,
  type Environment,
  maskedUrlOf,
  type Reading,
  readUrl,
  readVariables,
} from '../postgres/conninfo.ts'

/** Everything an operator can set, checked. Durations are milliseconds. */
export interface Config {
  /** Undefined: all interfaces. */
  readonly host: string | undefined
  /** 0: any free port. */
  readonly port: number
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly sessionMaxAgeMs: number
  readonly slowMs: number
  readonly unhealthyStatus: number
  readonly drainMs: number
  readonly details: 'on' | 'off'
  readonly logLevel: 'info' | 'warn' | 'error'
  /** Undefined: text on a terminal and in systemd's journal, else JSON. */
  readonly logFormat: 'text' | 'json' | undefined
  /** The URL of the database with its password masked. */
  readonly database: string
  /** URL parameters that mean nothing here: a warning is due when there are any. */
  readonly leftOut: readonly string[]
  /** Reads the target's files again, so that a rotated password is picked up. Throws ConfigError. */
  readonly readConninfo: () => CertifiedConninfo
}

/** One row of the table of settings, in words. */
export interface Setting {
  readonly name: string
  /** Empty when there is none. */
  readonly default: string
  /** What a value must be, unit included: "DRAIN_MS must be …". */
  readonly accepts: string
  readonly meaning: string
}

/** Gives the text of a file, or throws an error with a `code`. */
export type ReadFile = (path: string) => string

/** A row that has a value of its own; `parse` gives undefined for what is not accepted. */
interface Row<T> extends Setting {
  readonly fallback: T
  readonly parse: (text: string) => T | undefined
}

const own = {
  host: {
    name: 'HOST',
    default: 'all interfaces',
    accepts: 'a host name or an address',
    meaning: 'Where to listen',
    fallback: undefined,
    parse: text => (/^[\w.-]+$/.test(text) || isIP(text) ? text : undefined),
  } as Row<string | undefined>,
  port: wholeNumber('PORT', 8000, [0, 65_535], 'The port to listen on; 0 takes any free one'),
  // Attempts to connect are 100 ms apart: with less than 200 that pause would eat the deadline.
  timeoutMs: wholeMs('HEALTH_TIMEOUT_MS', 2000, [200, 60_000], 'Every answer comes within this'),
  connectTimeoutMs: wholeMs(
    'HEALTH_CONNECT_TIMEOUT_MS',
    5000,
    [100, 300_000],
    'An attempt to connect ends by then',
  ),
  sessionMaxAgeMs: wholeMs(
    'HEALTH_SESSION_MAX_AGE_MS',
    60_000,
    [1000, 86_400_000],
    'An older session is replaced',
  ),
  slowMs: wholeMs(
    'HEALTH_SLOW_MS',
    100,
    [1, 60_000],
    'A healthy check that takes longer is logged as a warning',
  ),
  unhealthyStatus: {
    name: 'HEALTH_UNHEALTHY_STATUS',
    default: '503',
    accepts: '200, or a number from 500 to 599',
    meaning: 'The status of an unhealthy answer; 200 is for those who read the body',
    fallback: 503,
    parse: text => (/^(200|5\d\d)$/.test(text) ? Number(text) : undefined),
  } as Row<number>,
  drainMs: wholeMs('DRAIN_MS', 5000, [0, 600_000], 'On SIGTERM, says no this long before it stops listening'),
  details: oneOf(
    'HEALTH_DETAILS',
    ['on', 'off'],
    'on',
    'on',
    'Off closes /, /history and /metrics, for a port that faces strangers',
  ),
  logLevel: oneOf(
    'LOG_LEVEL',
    ['info', 'warn', 'error'],
    'info',
    'info',
    'The least severe level that is logged',
  ),
  logFormat: oneOf(
    'LOG_FORMAT',
    ['text', 'json'],
    undefined,
    'text on a terminal and in the journal, else json',
    'How the log is written',
  ),
}

/** Every setting there is: `--help` is made from it. */
export const settings: readonly Setting[] = [
  words('DATABASE_URL', '', 'a postgres:// URL', 'The database to watch'),
  words('DATABASE_URL_FILE', '', 'a path', 'A file with the URL, read again for each new session'),
  words('PGHOST', 'localhost', 'a name, an address or a socket directory', 'The host, when there is no URL'),
  words('PGPORT', '5432', 'a whole number from 1 to 65535', 'The port of the host'),
  words('PGUSER', 'the user of the process', 'a name', 'Who connects'),
  words('PGPASSWORD', '', 'a text', 'The password'),
  words('PGPASSWORD_FILE', '', 'a path', 'A file with the password, read again for each new session'),
  words('PGDATABASE', 'the user', 'a name', 'The database'),
  words(
    'PGSSLMODE',
    'prefer',
    'disable, prefer, require, verify-ca or verify-full',
    'TLS as in libpq, but prefer takes plain text only when the server has no TLS',
  ),
  words('PGSSLROOTCERT', 'what Node trusts', 'a path, or system', 'Certificates (PEM) to trust'),
  ...Object.values(own),
]

const noDatabase =
  'DATABASE_URL must be set, or DATABASE_URL_FILE, or PGHOST and the other PG variables; to try it without a database: npm run dev'

/**
 * Reads all settings. Throws ConfigError with every fault there is.
 *
 * @param osUser who PostgreSQL's user is when none is named; empty when the system has no name for it.
 */
export function readConfig(env: Environment, readFile: ReadFile, osUser: string): Config {
  const faults: string[] = []
  const values = readRows(own, env, faults)
  const found = readDatabase(env, readFile, osUser)
  if ('faults' in found) throw new ConfigError([...found.faults, ...faults])
  if (faults.length > 0) throw new ConfigError(faults)
  return { ...values, database: maskedUrlOf(found.target), leftOut: found.leftOut, readConninfo }

  function readConninfo(): CertifiedConninfo {
    const reading = readDatabase(env, readFile, osUser)
    if ('faults' in reading) throw new ConfigError(reading.faults)
    return reading.target
  }
}

/** What its own client needs to know of a server: where it listens, its deadline, what it calls slow. */
export type ClientConfig = Pick<Config, 'host' | 'port' | 'timeoutMs' | 'slowMs'>

/** Reads the client's part of the settings; no database is needed. Throws ConfigError. */
export function readClientConfig(env: Environment): ClientConfig {
  const faults: string[] = []
  const { host, port, timeoutMs, slowMs } = own
  const found = readRows({ host, port, timeoutMs, slowMs }, env, faults)
  if (faults.length > 0) throw new ConfigError(faults)
  return found
}

/** What --check-config prints: what was understood, without the password. */
export function describeConfig({ database, leftOut }: Config): string {
  const rest = leftOut.length > 0 ? `Left out of the database URL: ${leftOut.join(', ')}\n` : ''
  return `The settings are right: ${database}\n${rest}`
}

/** Where /health is, on a host (a name or an address; IPv6 without brackets). */
export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}/health`
}

/** The part of `--help` that lists the settings. */
export function settingsHelp(): string {
  return settings
    .map(({ name, default: text, accepts, meaning }) => {
      return `  ${name}${text && ` (${text})`}\n      ${meaning}: ${accepts}\n`
    })
    .join('')
}

type ValuesOf<Rows> = { readonly [Key in keyof Rows]: Rows[Key] extends Row<infer Value> ? Value : never }

function readRows<Rows extends Record<string, Row<unknown>>>(rows: Rows, env: Environment, faults: string[]) {
  const values = Object.entries(rows).map(([key, row]) => [key, readRow(row, env[row.name] ?? '', faults)])
  return Object.fromEntries(values) as ValuesOf<Rows>
}

function readRow<T>({ name, accepts, fallback, parse }: Row<T>, text: string, faults: string[]): T {
  if (text === '') return fallback
  const value = parse(text)
  if (value !== undefined) return value
  // Kubernetes sets X_PORT=tcp://address:port for each Service X.
  const hint = text.startsWith('tcp://')
    ? '; it looks like a service link: set enableServiceLinks: false'
    : ''
  faults.push(`${name} must be ${accepts}${hint}`)
  return fallback
}

type Found =
  | { readonly target: CertifiedConninfo; readonly leftOut: readonly string[] }
  | { readonly faults: readonly string[] }

const noFiles = { cert: undefined, key: undefined, crl: undefined }

function readDatabase(env: Environment, readFile: ReadFile, osUser: string): Found {
  const faults: string[] = []
  const reading = readPlace()
  if ('faults' in reading) return { faults: [...faults, ...reading.faults] }
  const { tls, rootCertSetting: setting } = reading.target
  const path = tls.rootCertFile
  const unused = path === undefined || path === 'system' || tls.mode === 'disable'
  const rootCert = unused ? undefined : readText(setting, path)
  if (rootCert !== undefined && !rootCert.includes('-----BEGIN CERTIFICATE-----')) {
    faults.push(`${setting} names a file without a certificate (PEM)`)
  }
  return faults.length > 0
    ? { faults }
    : { target: { ...reading.target, rootCert, ...noFiles }, leftOut: reading.leftOut }

  function readPlace(): Reading {
    const url = readSecret('DATABASE_URL')
    // A newline at the end is what is left of `echo`; none can be part of a URL.
    if (url) return readUrl(url.text.replace(/[\r\n]+$/, ''), url.setting, osUser, env)
    if (faults.length > 0) return { faults: [] }
    if (!settings.some(({ name }) => name.startsWith('PG') && env[name])) return { faults: [noDatabase] }
    return readVariables({ ...env, PGPASSWORD: readSecret('PGPASSWORD')?.text }, osUser)
  }

  /** From the variable, or from the file that its `_FILE` names: one newline at its end is the editor's. */
  function readSecret(name: string): { setting: string; text: string } | undefined {
    const text = env[name]
    const setting = `${name}_FILE`
    const path = env[setting]
    if (text && path) faults.push(`${name} and ${setting} are both set: it must be one of them`)
    if (!path) return text ? { setting: name, text } : undefined
    const content = readText(setting, path)?.replace(/\r?\n$/, '')
    if (content === '') faults.push(`${setting} names an empty file`)
    return content ? { setting, text: content } : undefined
  }

  /** The path is not repeated: a secret that was put into the wrong variable would be. */
  function readText(setting: string, path: string): string | undefined {
    try {
      return readFile(path)
    } catch (error) {
      faults.push(`${setting} names a file that cannot be read (${(error as NodeJS.ErrnoException).code})`)
      return undefined
    }
  }
}

function wholeNumber(
  name: string,
  fallback: number,
  [least, most]: Range,
  meaning: string,
  of = '',
): Row<number> {
  return {
    name,
    default: String(fallback),
    accepts: `a whole number${of} from ${least} to ${most}`,
    meaning,
    fallback,
    parse: text => (/^\d+$/.test(text) && +text >= least && +text <= most ? +text : undefined),
  }
}

function wholeMs(name: string, fallback: number, range: Range, meaning: string): Row<number> {
  return wholeNumber(name, fallback, range, meaning, ' of milliseconds')
}

type Range = readonly [least: number, most: number]

function oneOf<Word extends string, Fallback extends Word | undefined>(
  name: string,
  known: readonly Word[],
  fallback: Fallback,
  text: string,
  meaning: string,
): Row<Word | Fallback> {
  const parse = (value: string) => known.find(word => word === value)
  return { name, default: text, accepts: `one of ${known.join(', ')}`, meaning, fallback, parse }
}

function words(name: string, text: string, accepts: string, meaning: string): Setting {
  return { name, default: text, accepts, meaning }
}
