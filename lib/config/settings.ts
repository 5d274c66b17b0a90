// The table of settings: it makes the parser, the defaults, --help and the tables of the documents.
import { isIP } from 'node:net'
import { parameters } from '../conninfo/parameters.ts'
import { milliseconds, oneOf, type Row, type Setting, wholeNumber } from './rows.ts'

/** The settings that are not about the database; the keys are those of Config. */
export const ownSettings = {
  /** Where to listen; undefined: on all interfaces. */
  host: {
    name: 'HOST',
    defaultText: 'all interfaces',
    accepts: 'a host name or an address',
    meaning: 'The address to listen on',
    defaultValue: undefined,
    parse: text => (!isPlatform(text) && (/^[\w.-]+$/.test(text) || isIP(text)) ? text : undefined),
    hintOf: text =>
      isPlatform(text) ? 'it looks like the platform that conda exports: unset HOST' : undefined,
  } satisfies Row<string | undefined> as Row<string | undefined>,
  /** 0: any free port. */
  port: wholeNumber({
    name: 'PORT',
    defaultValue: 8000,
    from: 0,
    to: 65_535,
    meaning: 'The port to listen on; 0 takes any free one',
  }),
  /** How long a request waits for its answer at most, milliseconds. */
  timeoutMs: milliseconds({
    name: 'HEALTH_TIMEOUT_MS',
    defaultValue: 2000,
    // Attempts to connect are 100 ms apart: with less than 200 that pause would take the whole deadline.
    from: 200,
    to: 60_000,
    meaning: 'Every request is answered within this time',
  }),
  /** How long one attempt to connect may take, milliseconds; it may outlive the request that began it. */
  connectTimeoutMs: milliseconds({
    name: 'HEALTH_CONNECT_TIMEOUT_MS',
    defaultValue: 5000,
    from: 100,
    to: 300_000,
    meaning: 'How long an attempt to connect may take',
  }),
  /** When a session is replaced by a new one, milliseconds. */
  sessionMaxAgeMs: milliseconds({
    name: 'HEALTH_SESSION_MAX_AGE_MS',
    defaultValue: 60_000,
    from: 1000,
    to: 86_400_000,
    meaning: 'A session that is older is replaced',
  }),
  /** Above this a healthy check is logged as slow, milliseconds. */
  slowMs: milliseconds({
    name: 'HEALTH_SLOW_MS',
    defaultValue: 100,
    from: 1,
    to: 60_000,
    meaning: 'A healthy check that takes longer is logged as a warning',
  }),
  /** The status of an unhealthy response. */
  unhealthyStatus: {
    name: 'HEALTH_UNHEALTHY_STATUS',
    defaultText: '503',
    accepts: '200, or a number from 500 to 599',
    meaning: 'The status of an unhealthy response; 200 is for clients that read the body',
    defaultValue: 503,
    parse: text => (/^(200|5\d\d)$/.test(text) ? Number(text) : undefined),
  } satisfies Row<number> as Row<number>,
  /** How long we report unhealthy before the port is closed, milliseconds. */
  drainMs: milliseconds({
    name: 'DRAIN_MS',
    defaultValue: 5000,
    from: 0,
    to: 600_000,
    meaning: 'How long to report 503 after SIGTERM before closing the port',
  }),
  /** Whether /, /history and /metrics are served. */
  details: oneOf({
    name: 'HEALTH_DETAILS',
    words: ['on', 'off'],
    defaultValue: 'on',
    meaning: 'off disables /, /history and /metrics; use it on a public port',
  }),
  /** The least severe level that is logged. */
  logLevel: oneOf({
    name: 'LOG_LEVEL',
    words: ['info', 'warn', 'error'],
    defaultValue: 'info',
    meaning: 'The least severe level that is logged',
  }),
  /** Undefined: text on a terminal and in systemd's journal, else JSON. */
  logFormat: oneOf({
    name: 'LOG_FORMAT',
    words: ['text', 'json'],
    defaultValue: undefined,
    defaultText: 'text on a terminal and in the journal, else json',
    meaning: 'How the log is written',
  }),
}

const urlSettings: readonly Setting[] = [
  {
    name: 'DATABASE_URL',
    defaultText: '',
    accepts: 'a postgres:// URL, or another form in docs/configuration.md',
    meaning: 'The database to check',
  },
  {
    name: 'DATABASE_URL_FILE',
    defaultText: '',
    accepts: 'a path',
    meaning: 'A file with the URL, read again for each new session',
  },
]

const passwordFile: Setting = {
  name: 'PGPASSWORD_FILE',
  defaultText: '',
  accepts: 'a path',
  meaning: 'A file with the password, read again for each new session',
}

/** libpq's variables that are honoured, made from the list that parses them. */
const variables: readonly Setting[] = parameters.flatMap(parameter => {
  const { use, variable, accepts = '', meaning, defaultText = '' } = parameter
  if (variable === undefined || !['place', 'honoured'].includes(use)) return []
  const row = { name: variable, defaultText, accepts, meaning }
  return variable === 'PGPASSWORD' ? [row, passwordFile] : [row]
})

/** Every setting there is, in the order of the documents. */
export const settings: readonly Setting[] = [...urlSettings, ...variables, ...Object.values(ownSettings)]

/** The part of `--help` that lists the settings. */
export function settingsHelp(): string {
  return settings
    .map(({ name, defaultText, accepts, meaning }) => {
      return `  ${name}${defaultText && ` (${defaultText})`}\n      ${meaning}: ${accepts}\n`
    })
    .join('')
}

/** The triplet of a compiler, which conda exports as HOST: x86_64-conda-linux-gnu. */
function isPlatform(text: string): boolean {
  return /^[\w.]+-[\w.]+-(linux|darwin|apple|gnu)[\w.-]*$/.test(text) || /-linux-gnu$/.test(text)
}
