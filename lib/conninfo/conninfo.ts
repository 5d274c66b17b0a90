// Reads where PostgreSQL is, as whom to log in and how safely, into one typed value.
import { isIP } from 'node:net'
import type { Result } from '../error.ts'
import { readForm } from './forms.ts'
import { findParameter } from './parameters.ts'
import {
  controlFault,
  type Environment,
  hasControl,
  mergeParts,
  type Parts,
  partsOf,
  partsOfVariables,
} from './parts.ts'
import { readTls, type Tls } from './tls.ts'
import { findWord } from './words.ts'

export type { Environment, Parts, Tls }
export { controlFault, hasControl, mergeParts, partsOf, partsOfVariables }

/** One place to connect to. */
export interface Host {
  /**
   * A name, an address (IPv6 without brackets), or the directory of a Unix socket, which begins with `/`; with `@` when
   * it is in Linux's abstract namespace. Certificates are compared with it.
   */
  readonly host: string
  /** libpq's `hostaddr`: connect to this address instead of looking `host` up. */
  readonly address: string | undefined
  readonly port: number
}

/** One database, and how to get in. */
export interface Conninfo {
  /** In the order in which they are tried; at least one. */
  readonly hosts: readonly [Host, ...Host[]]
  readonly targetSessionAttrs: (typeof sessionAttrs)[number]
  readonly user: string
  /** Empty when there is none. */
  readonly password: string
  readonly database: string
  readonly applicationName: string
  /** libpq's `options`, sent in the start-up message; empty when there is none. */
  readonly options: string
  readonly tls: Tls
}

/** A Conninfo, and the text of the files that it names: read again for each new session. */
export type CertifiedConninfo = Conninfo & {
  readonly rootCert: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly crl: string | undefined
}

const sessionAttrs = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const

/**
 * Reads a connection string in any of its forms. A fault is a sentence that names the setting and repeats no value: any
 * may be, or hold, the password.
 */
export function readParts(text: string, setting: string): Result<Parts> {
  const form = readForm(text)
  if ('faults' in form) return { faults: form.faults.map(fault => `${setting} ${fault}`) }
  return { value: partsOf(form.value, setting) }
}

/**
 * Reads a connection string together with libpq's variables, without any file.
 *
 * @param osUser who PostgreSQL's user is when none is named, as in libpq; the database defaults to the user.
 */
export function readUrl(
  text: string,
  setting: string,
  osUser: string,
  env: Environment = {},
): Result<Conninfo> {
  const parts = readParts(text, setting)
  if ('faults' in parts) return parts
  return conninfoOf(mergeParts([parts.value, partsOfVariables(env, parts.value.dialect)]), osUser)
}

/** Checks the parts and fills in the defaults: libpq's, but `localhost` instead of the socket that libpq was built for. */
export function conninfoOf(parts: Parts, osUser: string): Result<Conninfo> {
  const { values } = parts
  const faults = [...parts.faults]
  const of = (name: string) => values.get(name)?.value
  const calledOf = (name: string) => values.get(name)?.called ?? findParameter(name)?.variable ?? name
  const fault = (name: string, text: string) => faults.push(`${calledOf(name)} ${text}`)

  // The start-up message ends each value with a NUL: one inside would make the rest of it a parameter.
  for (const [name, { value }] of values)
    if (value.includes('\0')) fault(name, 'must not hold a NUL character')
  // A URL there has a password that would be printed.
  for (const name of ['user', 'dbname', 'application_name', 'fallback_application_name'])
    if (of(name)?.includes('://')) fault(name, 'must be a name, not a URL: write that as DATABASE_URL')
  const hosts = hostsOf(of, fault)
  const user = of('user') ?? osUser
  if (user === '') fault('user', 'must be set: the system has no name for the user of this process')
  const attrs = findWord(sessionAttrs, of('target_session_attrs') ?? 'any')
  if (attrs === undefined) fault('target_session_attrs', `must be one of ${sessionAttrs.join(', ')}`)
  const tls = readTls(of, fault)
  const [first, ...others] = hosts
  if (faults.length > 0 || first === undefined || attrs === undefined) return { faults }
  const conninfo = {
    hosts: [first, ...others],
    targetSessionAttrs: attrs,
    user,
    password: of('password') ?? '',
    database: of('dbname') ?? user,
    applicationName: of('application_name') ?? of('fallback_application_name') ?? 'pg-health',
    options: of('options') ?? '',
    tls,
  } as const
  return { value: conninfo }
}

/** As libpq: as many addresses as hosts; one port for all, or one for each, where an empty one is 5432. */
function hostsOf(
  of: (name: string) => string | undefined,
  fault: (name: string, text: string) => void,
): Host[] {
  const names = of('host')?.split(',')
  const addresses = of('hostaddr')?.split(',')
  const count = names?.length ?? addresses?.length ?? 1
  const ports = of('port')?.split(',') ?? ['']
  if (addresses && addresses.length !== count)
    fault('hostaddr', 'must have as many addresses as there are hosts')
  if (ports.length > 1 && ports.length !== count)
    fault('port', 'must be one number, or as many as there are hosts')
  return Array.from({ length: count }, (_, index) => {
    const address = addresses?.[index] || undefined
    const host = names?.[index] || address || (count === 1 ? 'localhost' : '')
    const digits = (ports.length > 1 ? ports[index] : ports[0]) || '5432'
    const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0
    if (host === '') fault('host', 'has an empty host in its list')
    else if (!isHost(host)) fault('host', 'must be a name, an address or a socket directory')
    if (address && !isIP(address)) fault('hostaddr', 'must be an IP address')
    if (port < 1 || port > 65_535) fault('port', 'must be a whole number from 1 to 65535')
    const path = socketPathOf({ host, address, port })
    // What the kernel has room for; a longer one would be "unreachable (ENOENT)" for ever.
    if (path && Buffer.byteLength(path) > 107)
      fault('host', 'must be shorter: a socket path has at most 107 bytes')
    return { host, address, port }
  })
}

function isHost(text: string): boolean {
  return /^[/@]/.test(text) || /^[\p{L}\p{N}._-]+$/u.test(text) || isIP(text) > 0
}

/** The Unix socket of a host, with a NUL before its name in the abstract namespace; undefined when it is TCP. */
export function socketPathOf({ host, address, port }: Host): string | undefined {
  if (address !== undefined || !/^[/@]/.test(host)) return undefined
  return `${host.replace(/^@/, '\0')}/.s.PGSQL.${port}`
}

/** A URL fit for a log, which reads as the same database: `***` instead of the password. */
export function maskedUrlOf({ hosts, user, password, database }: Conninfo): string {
  const login = encodeURIComponent(user) + (password === '' ? '' : ':***')
  const places = hosts.map(({ host, port }) => {
    // No host but an IPv6 address has a colon. Node's own pattern for those takes 3 ms to compile, a tenth of our start.
    const isAddress = host.includes(':') && !host.startsWith('/')
    const name = isAddress ? `[${host.replace('%', '%25')}]` : encodeURIComponent(host)
    return `${name.startsWith('%2F') ? '' : name}:${port}`
  })
  const sockets = hosts.some(({ host }) => host.startsWith('/'))
  const list = hosts.map(({ host }) => encodeURIComponent(host).replaceAll('%2F', '/')).join()
  const query = sockets ? `?host=${list}` : ''
  return `postgres://${login}@${places.join()}/${encodeURIComponent(database)}${query}`
}
