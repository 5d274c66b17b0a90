// Reads where PostgreSQL is: a URL, or libpq's variables, into one typed value.
import { isIP, isIPv6 } from 'node:net'

const tlsModes = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const

/** libpq's `sslmode`. */
export type TlsMode = (typeof tlsModes)[number] | 'allow'

/** Versions of TLS, as libpq and Node.js both call them. */
export type TlsVersion = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'

/** One place to connect to. */
export interface Host {
  /**
   * A name, an address (IPv6 without brackets), or the directory of a Unix socket: then it begins with `/`.
   * Certificates are compared with it.
   */
  readonly host: string
  /** libpq's `hostaddr`: connect to this address instead of looking `host` up. */
  readonly address: string | undefined
  readonly port: number
}

/** How safely to connect. */
export interface Tls {
  readonly mode: TlsMode
  /** `direct`: TLS begins without PostgreSQL's SSLRequest (PostgreSQL 17+), with ALPN `postgresql`. */
  readonly negotiation: 'postgres' | 'direct'
  /** A PEM file; `system` or undefined: what Node trusts. */
  readonly rootCertFile: string | undefined
  /** PEM files of the client certificate, its key, and revoked server certificates. */
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly crlFile: string | undefined
  /** Decrypts the key; empty when there is none. */
  readonly keyPassword: string
  readonly minVersion: TlsVersion | undefined
  readonly maxVersion: TlsVersion | undefined
}

/** One database, and how to get in. */
export interface Conninfo {
  /** In the order in which they are tried; at least one. */
  readonly hosts: readonly [Host, ...Host[]]
  readonly targetSessionAttrs: 'any' | 'read-write' | 'read-only' | 'primary' | 'standby' | 'prefer-standby'
  readonly user: string
  /** Empty when there is none. */
  readonly password: string
  readonly database: string
  readonly applicationName: string
  /** libpq's `options`, sent in the start-up message; empty when there is none. */
  readonly options: string
  readonly tls: Tls
  /** How a fault of the root certificate's file names its setting. */
  readonly rootCertSetting: string
}

/** A Conninfo, and the text of the files that it names: read again for each new session. */
export type CertifiedConninfo = Conninfo & {
  readonly rootCert: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly crl: string | undefined
}

/**
 * What came of reading: a target, and the names of URL parameters that were left out; or every fault at once. A
 * fault is a sentence that names the setting and repeats no value: any may be, or hold, the password.
 */
export type Reading =
  | { readonly target: Conninfo; readonly leftOut: readonly string[] }
  | { readonly faults: readonly string[] }

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What a target is made of: libpq's parameters, and its variables for them. */
const variables = new Map([
  ['host', 'PGHOST'],
  ['port', 'PGPORT'],
  ['user', 'PGUSER'],
  ['password', 'PGPASSWORD'],
  ['dbname', 'PGDATABASE'],
  ['sslmode', 'PGSSLMODE'],
  ['sslrootcert', 'PGSSLROOTCERT'],
])

const parameters = [...variables.keys(), 'application_name']

/** What hosting providers and other tools add to a URL: no concern of a health check, so a pasted URL works. */
const foreign = [
  'channel_binding',
  'connect_timeout',
  'connection_limit',
  'pgbouncer',
  'pool_timeout',
  'schema',
]

const scheme = /^postgres(ql)?:\/\//i

/**
 * Reads a `postgres://` URL. By hand: `new URL` throws an error that carries the password (Node 20 to 26).
 *
 * @param setting where the URL comes from, for the faults.
 * @param osUser who PostgreSQL's user is when the URL names none, as in libpq; the database defaults to the user.
 * @param env of which PGSSLMODE and PGSSLROOTCERT count where the URL does not say.
 */
export function readUrl(url: string, setting: string, osUser: string, env: Environment = {}): Reading {
  const rest = url.replace(scheme, '')
  // No host holds an @, so the last one ends the password, whatever else is in it.
  const at = rest.lastIndexOf('@')
  const userinfo = rest.slice(0, Math.max(at, 0))
  const place = rest.slice(at + 1)
  const wrong = shapeFaultOf(url, userinfo, place)
  if (wrong) return { faults: [`${setting} ${wrong}`] }

  const faults: string[] = []
  const parts = new Map<string, string>()
  const [user, password] = cut(userinfo, ':')
  const [beforeQuery, query] = cut(place, '?')
  const [address, database] = cut(beforeQuery, '/')
  const { host, port } = addressOf(address)
  const named = { user, password, host, port, dbname: database }
  for (const [part, text] of Object.entries(named)) put(part, text)
  const bracketed = address.startsWith('[')
  if (bracketed && !isIPv6(parts.get('host') ?? '')) fault('holds no IPv6 address in its brackets')
  if (database.includes('/')) fault('names a database with a /: percent-encode it as %2F')
  const leftOut = readQuery(query)
  const inherited = inheritTls()
  const called = (part: string) => inherited.get(part) ?? `${setting}: ${part}`
  return finish(parts, called, osUser, faults, leftOut)

  /** As in libpq, who demands TLS in the environment means this URL, too; silently going without would be wrong. */
  function inheritTls(): ReadonlyMap<string, string> {
    const absent = [...variables].filter(([part]) => part.startsWith('ssl') && !parts.has(part))
    const set = absent.filter(([, variable]) => env[variable])
    for (const [part, variable] of set) parts.set(part, env[variable] ?? '')
    return new Map(set)
  }

  function fault(text: string) {
    faults.push(`${setting} ${text}`)
  }

  function put(part: string, text: string) {
    const value = decode(text)
    if (value === undefined) fault(`has a malformed percent-encoding in its ${part}: write % as %25`)
    else if (value !== '') parts.set(part, value)
  }

  function readQuery(query: string): readonly string[] {
    const seen = new Set<string>()
    for (const [name, value] of query.split('&').filter(Boolean).map(parameterOf)) {
      const known = parameters.includes(name)
      // A piece of a password whose ? or & is not percent-encoded looks like a name: before no @, or after password=.
      const safe = at >= 0 && !seen.has('password') && /^[\w.-]{1,40}$/.test(name)
      const shown = safe ? `parameter ${name}` : 'a parameter'
      // `localhost` beside a socket directory is a placeholder in the URLs of Cloud SQL and Prisma.
      const replaces = name === 'host' && /^(\/|%2f)/i.test(value ?? '')
      if (value === undefined) fault('has a parameter without a value')
      else if (!known && !foreign.includes(name))
        fault(`sets ${shown}, which is not one of ${parameters.join(', ')}`)
      else if (seen.has(name) || (parts.has(name) && !replaces)) fault(`sets ${name} twice`)
      else if (known) put(name, value)
      seen.add(name)
    }
    return foreign.filter(name => seen.has(name))
  }
}

/**
 * Reads libpq's variables, with its defaults; without a host it is `localhost`, not the socket that libpq was
 * built for. Empty is unset.
 *
 * @param env of which PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE PGSSLROOTCERT are read.
 * @param osUser as for readUrl.
 */
export function readVariables(env: Environment, osUser: string): Reading {
  const parts = new Map<string, string>()
  for (const [part, variable] of variables) {
    const value = env[variable]
    if (value) parts.set(part, value)
  }
  return finish(parts, part => variables.get(part) ?? part, osUser, [], [])
}

/** The target as a URL fit for a log: `***` instead of the password. */
export function maskedUrlOf({ hosts, user, password, database }: Conninfo): string {
  const [{ host, port }] = hosts
  const socket = host.startsWith('/')
  // No host but an IPv6 address has a colon. Node's own pattern for those takes 3 ms to compile, a tenth of our start.
  const name = host.includes(':') ? `[${host.replace('%', '%25')}]` : encodeURIComponent(host)
  const query = socket ? `?host=${encodeURIComponent(host).replaceAll('%2F', '/')}` : ''
  const login = encodeURIComponent(user) + (password === '' ? '' : ':***')
  return `postgres://${login}@${socket ? '' : name}:${port}/${encodeURIComponent(database)}${query}`
}

/**
 * What makes a URL unreadable as a whole. Rather an error than a guess: with a / or ? before the last @, it may
 * be `user:pass/word@host` or `host:5432/name@database`, and guessing would connect to a piece of the password.
 * A # before the @ is the password's: nothing else could be meant, and libpq reads it so. After the @ others
 * (`new URL`) cut there, libpq does not: so it must be percent-encoded.
 */
function shapeFaultOf(url: string, userinfo: string, place: string): string | undefined {
  if (/^\s*\w+\s*=/.test(url))
    return 'must be a URL, postgres://user:password@host:5432/database, not keywords'
  if (!scheme.test(url)) return 'must begin with postgres:// or postgresql://, and have no quotes around it'
  if (/[\s\p{Cc}]/u.test(url)) return 'holds a space or control character: percent-encode it (a space is %20)'
  if (/[/?]/.test(userinfo)) {
    return 'holds an @ after a / or ?: percent-encode the password (/ is %2F, ? is %3F), and other @ as %40'
  }
  if (place.includes('#')) return 'holds a # that is not in the password: percent-encode it as %23'
  if (/^[^/?]*,/.test(place)) return 'names several hosts: it must be one host, the one this service uses'
  if (/^[^[/?]*:[^/?]*:/.test(place)) return 'has two : in its host: put an IPv6 address in brackets'
  return undefined
}

function addressOf(address: string): { host: string; port: string } {
  const [, literal, name, port] = /^(?:\[(.*)\]|([^:]*))(?::(.*))?$/.exec(address) ?? []
  return { host: literal ?? name ?? '', port: port ?? '' }
}

function parameterOf(text: string): [name: string, value: string | undefined] {
  const [name, value] = cut(text, '=')
  return [decode(name) ?? name, text.includes('=') ? value : undefined]
}

/** Checks the parts and fills in the defaults; `called` is how a fault names a part. */
function finish(
  parts: ReadonlyMap<string, string>,
  called: (part: string) => string,
  osUser: string,
  faults: readonly string[],
  leftOut: readonly string[],
): Reading {
  const host = parts.get('host') ?? 'localhost'
  const digits = parts.get('port') ?? '5432'
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0
  const user = parts.get('user') ?? osUser
  const rootCertFile = parts.get('sslrootcert')
  const tls = tlsOf(parts.get('sslmode'), rootCertFile)
  const found = [...faults]

  // The start-up message ends each value with a NUL: one inside would make the rest of it a parameter.
  for (const [part, value] of parts) check(!value.includes('\0'), part, 'must not hold a NUL character')
  check(!host.includes(','), 'host', 'must be one host: the one this service uses')
  check(isHost(host), 'host', 'must be a name, an address or a socket directory')
  check(port >= 1 && port <= 65_535, 'port', 'must be a whole number from 1 to 65535')
  check(user !== '', 'user', 'must be set: the system has no name for the user of this process')
  check(tls !== undefined, 'sslmode', `must be one of ${tlsModes.join(', ')}`)
  const weak = rootCertFile === 'system' && tls !== undefined && tls !== 'verify-full'
  check(!weak, 'sslmode', 'must be verify-full with the sslrootcert called system')
  if (tls === undefined || found.length > 0) return { faults: found }

  const database = parts.get('dbname') ?? user
  const password = parts.get('password') ?? ''
  const applicationName = parts.get('application_name') ?? 'pg-health'
  const rootCertSetting = called('sslrootcert')
  const hosts: readonly [Host] = [{ host, address: undefined, port }]
  const encryption: Tls = {
    mode: tls,
    negotiation: 'postgres',
    rootCertFile,
    certFile: undefined,
    keyFile: undefined,
    crlFile: undefined,
    keyPassword: '',
    minVersion: undefined,
    maxVersion: undefined,
  }
  const login = { user, password, database, applicationName, options: '' }
  const target: Conninfo = { hosts, targetSessionAttrs: 'any', ...login, tls: encryption, rootCertSetting }
  return { leftOut, target }

  function check(right: boolean, part: string, text: string) {
    if (!right) found.push(`${called(part)} ${text}`)
  }
}

function isHost(text: string): boolean {
  return text.startsWith('/') || /^[\p{L}\p{N}._,-]+$/u.test(text) || isIP(text) > 0
}

/** As libpq: a root certificate makes `require` check it, and the system's store makes sense only in full. */
function tlsOf(mode: string | undefined, rootCertFile: string | undefined): TlsMode | undefined {
  if (mode === undefined) return rootCertFile === 'system' ? 'verify-full' : 'prefer'
  if (mode === 'require' && rootCertFile !== undefined && rootCertFile !== 'system') return 'verify-ca'
  return tlsModes.find(known => known === mode)
}

/** Undefined when a % begins no two hex digits, or the bytes are not UTF-8. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** What is before and after the first `mark`; without one, all is before. */
function cut(text: string, mark: string): [before: string, after: string] {
  const index = text.indexOf(mark)
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)]
}
