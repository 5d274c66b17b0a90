// Translates the words of drivers about TLS, hosts and sockets into libpq's parameters.
import type { Dialect } from './pair.ts'
import { plainNameOf } from './parameter.ts'

/** The value of a parameter, and how a fault names it. */
export interface Part {
  readonly value: string
  readonly called: string
}

/** libpq's `sslmode`. */
export type TlsMode = (typeof tlsModes)[number]

/** Its words, from weak to strong. */
export const tlsModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const

/** Finds a word in a list, in any spelling of case, `-` and `_`. */
export function findWord<Word extends string>(words: readonly Word[], text: string): Word | undefined {
  return words.find(word => plainNameOf(word) === plainNameOf(text))
}

type Parts = Map<string, Part>

/**
 * Replaces drivers' words in `parts` by libpq's. What libpq has no word for becomes a part called `trust`: `any` says
 * that no certificate is to be verified, not even where there is a root certificate.
 */
export function translateWords(parts: Parts, dialect: Dialect, faults: string[]) {
  translateHosts(parts, dialect)
  translateAttributes(parts, faults)
  translatePrisma(parts)
  translateMode(parts, dialect, faults)
  translateTrust(parts, faults)
}

/** Sockets by other names; and hosts that bring their port along. */
function translateHosts(parts: Parts, dialect: Dialect) {
  const socket = take(parts, 'socket_dir') ?? take(parts, 'unix_sock')
  const [, directory, port] = /^(.*?)(?:\/\.s\.PGSQL\.(\d+))?$/s.exec(socket?.value ?? '') ?? []
  if (socket && directory) parts.set('host', { ...socket, value: directory })
  if (socket && port && !parts.has('port')) parts.set('port', { ...socket, value: port })
  const host = parts.get('host')
  if (!host || !['dotnet', 'sqlalchemy'].includes(dialect) || !/^[^/:]+:\d+/.test(host.value)) return
  const places = host.value.split(',').map(each => each.split(':'))
  parts.set('host', { ...host, value: places.map(([name]) => name).join() })
  parts.set('port', { ...host, value: places.map(([, each]) => each ?? parts.get('port')?.value).join() })
}

/** A primary of JDBC's drivers is asked for `transaction_read_only`: libpq calls that read-write. */
function translateAttributes(parts: Parts, faults: string[]) {
  const type = take(parts, 'targetServerType')
  if (!type || parts.has('target_session_attrs')) return
  const known = new Map([
    ['any', 'any'],
    ['primary', 'read-write'],
    ['master', 'read-write'],
    ['secondary', 'read-only'],
    ['slave', 'read-only'],
    ['prefersecondary', 'prefer-standby'],
    ['preferslave', 'prefer-standby'],
  ])
  const value = known.get(plainNameOf(type.value))
  if (value === undefined) faults.push(`${type.called} must be any, primary, secondary or preferSecondary`)
  else parts.set('target_session_attrs', { ...type, value })
}

/** In Prisma's URLs, which alone have sslaccept, sslcert is the root certificate. */
function translatePrisma(parts: Parts) {
  const root = parts.get('sslcert')
  if (!root || !parts.has('sslaccept') || parts.has('sslkey') || parts.has('sslrootcert')) return
  parts.delete('sslcert')
  parts.set('sslrootcert', root)
}

/** `ssl` in its many meanings; an sslmode beside it is more precise, unless they contradict each other. */
function translateMode(parts: Parts, dialect: Dialect, faults: string[]) {
  const written = parts.get('sslmode')
  const canonical = written && findWord([...tlsModes, 'no-verify'], written.value)
  const mode = written && { ...written, value: canonical ?? written.value }
  if (mode) parts.set('sslmode', mode)
  const required = take(parts, 'ssl_require')
  if (required && !flagOf(required.value)) faults.push(`${required.called} must be true or false`)
  // Not to require TLS is not to forbid it.
  const demand = required && flagOf(required.value) === 'on' ? { ...required, value: 'require' } : undefined
  const ssl = take(parts, 'ssl') ?? demand
  const word = ssl && findWord([...tlsModes, 'no-verify'], ssl.value)
  const flag = ssl && flagOf(ssl.value)
  const meant =
    word ?? (flag && (flag === 'off' ? 'disable' : dialect === 'jdbc' ? 'verify-full' : 'require'))
  if (ssl && !meant) faults.push(`${ssl.called} must be true, false, no-verify or a word of sslmode`)
  else if (ssl && !mode) parts.set('sslmode', { ...ssl, value: meant ?? '' })
  else if (ssl && mode && (mode.value === 'disable') !== (meant === 'disable')) contradict(mode, ssl, faults)
  const found = parts.get('sslmode')
  if (found?.value !== 'no-verify') return
  parts.set('sslmode', { ...found, value: 'require' })
  parts.set('trust', { ...found, value: 'any' })
}

/** Words that say whether certificates are verified; undefined is a word that is none of theirs. */
const trustWords: Readonly<Record<string, (word: string) => 'full' | 'any' | 'default' | undefined>> = {
  rejectUnauthorized: word => pick(word, 'full', 'any'),
  'Trust Server Certificate': word => pick(word, 'any', 'default'),
  sslaccept: word => (word === 'strict' ? 'full' : word === 'accept_invalid_certs' ? 'any' : undefined),
  sslfactory: word => (/\bNonValidatingFactory$/.test(word) ? 'any' : undefined),
}

function pick<Word>(flag: string, on: Word, off: Word): Word | undefined {
  const value = flagOf(flag)
  return value && (value === 'on' ? on : off)
}

function translateTrust(parts: Parts, faults: string[]) {
  for (const [name, trustOf] of Object.entries(trustWords)) {
    const part = take(parts, name)
    const trust = part && trustOf(part.value)
    const mode = parts.get('sslmode')
    const before = parts.get('trust')
    if (part && !trust) faults.push(`${part.called} has a value that is not known`)
    if (!part || !trust || trust === 'default') continue
    if (before && before.value !== trust) contradict(before, part, faults)
    parts.set('trust', { ...part, value: trust })
    if (trust === 'full' && mode?.value === 'disable') contradict(mode, part, faults)
    if (trust === 'full' && !mode?.value.startsWith('verify'))
      parts.set('sslmode', { ...part, value: 'verify-full' })
    if (trust === 'any' && mode?.value.startsWith('verify')) {
      // `ssl=true` means to verify in JDBC alone, and gives way there; sslmode says so.
      if (/sslmode$/i.test(mode.called)) contradict(mode, part, faults)
      else parts.set('sslmode', { ...mode, value: 'require' })
    }
  }
}

function contradict(one: Part, other: Part, faults: string[]) {
  faults.push(`${one.called} contradicts ${other.called.replace(/^.*: /, '')}: remove one of them`)
}

function flagOf(text: string): 'on' | 'off' | undefined {
  if (/^(true|1|t|yes|y|on)$/i.test(text)) return 'on'
  return /^(false|0|f|no|n|off)$/i.test(text) ? 'off' : undefined
}

function take(parts: Parts, name: string): Part | undefined {
  const part = parts.get(name)
  parts.delete(name)
  return part
}
