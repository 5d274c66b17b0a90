// Reads a URL of a database into names and values, and refuses one that can be read in two ways.
import { isIPv6 } from 'node:net'
import type { Result } from '../error.ts'
import { type Dialect, type Form, isName, isPlaceholder, type Pair, placeholderFault } from './pair.ts'
import { findParameter } from './parameters.ts'

/** Reads what follows the scheme. By hand: `new URL` throws an error that carries the password (Node 20 to 26). */
export function readUrl(written: string, dialect: Dialect): Result<Form> {
  const rest = written.replace(/;+$/, '')
  const { login, place } = splitLogin(rest, dialect)
  const wrong = shapeFaultOf(written, login, place)
  if (wrong !== undefined) return { faults: [wrong] }

  const faults: string[] = []
  const pairs: Pair[] = []
  let isSafe = true
  const [user, password] = splitOnce(login ?? '', ':')
  const [beforeQuery, query] = splitOnce(place, '?')
  const [authority, dbname] = splitOnce(beforeQuery, '/')
  const { host, port } = splitHosts(authority, faults)
  if (dbname.includes('/')) faults.push('names a database with a /: percent-encode it as %2F')
  for (const [name, text] of Object.entries({ user, password, host, port, dbname })) add(name, text)

  // Without an @, what looks like a port and a query may be a password whose host is missing.
  isSafe = login !== undefined || !authority.includes(':')
  for (const text of query.split('&').filter(Boolean)) {
    const [key, value] = splitOnce(text, '=')
    const name = decode(key) ?? key
    if (text.includes('=')) add(name, dialect === 'libpq' ? value : value.replaceAll('+', ' '))
    else pairs.push({ name, value: undefined, isSafe: false })
    // What follows may be the rest of a password whose & is not percent-encoded.
    if (findParameter(name)?.name === 'password') isSafe = false
  }
  return { value: { dialect, pairs, faults } }

  function add(name: string, text: string) {
    const value = decode(text)
    const known = findParameter(name)?.name
    if (value !== undefined && isPlaceholder(known, text)) faults.push(placeholderFault(known))
    else if (value !== undefined) pairs.push({ name, value, isSafe: isSafe && isName(name) })
    else faults.push(`has a malformed percent-encoding in its ${known ?? 'parameters'}: write % as %25`)
  }
}

/**
 * The last @ ends the login: no host holds one. JDBC's drivers read no login, so an @ in the query is a value's; so it
 * is where nothing before the query could be a login. libpq alone knows abstract sockets, `@name` after the @.
 */
function splitLogin(rest: string, dialect: Dialect): { login: string | undefined; place: string } {
  const query = rest.search(/\?|$/)
  const end =
    dialect === 'jdbc' ? rest.search(/[/?]|$/) : /[:@]/.test(rest.slice(0, query)) ? rest.length : query
  const last = rest.slice(0, end).lastIndexOf('@')
  const isAbstract = /^@(?!localhost)[\w-]+([/?]|$)/.test(rest.slice(last)) && rest[last - 1] === '@'
  const at = isAbstract ? last - 1 : last
  return at < 0 ? { login: undefined, place: rest } : { login: rest.slice(0, at), place: rest.slice(at + 1) }
}

/**
 * What makes a URL unreadable as a whole. An error is better than a guess: with a / or ? before the last @ it may be
 * `user:pass/word@host` or `host:5432/name@database`, and a guess would connect to a piece of the password. A # before
 * the @ is the password's, as in libpq. After the @, other readers cut there and libpq does not.
 */
function shapeFaultOf(url: string, login: string | undefined, place: string): string | undefined {
  // Nothing but a value can hold the spaces after the ?: `options=-c search_path=app` is found in documents.
  if (/^[^?]*\s|\p{Cc}/u.test(url)) {
    return 'holds a space or control character: percent-encode it (a space is %20)'
  }
  if (/[?&](password|pwd)=[^&]*;$/i.test(url)) {
    return 'ends with a ; after a password: remove it, or percent-encode it as %3B'
  }
  if (/[/?]/.test(login ?? '')) {
    return 'holds an @ after a / or ?: percent-encode the password (/ is %2F, ? is %3F), and other @ as %40'
  }
  if (place.includes('#')) return 'holds a # that is not in the password: percent-encode it as %23'
  if (
    place
      .split(/[/?]/, 1)[0]
      ?.split(',')
      .some(each => /^[^[]*:.*:/.test(each))
  ) {
    return 'has two : in its host: put an IPv6 address in brackets, and write : in a socket directory as %3A'
  }
  return undefined
}

/** As libpq: several hosts have as many ports, some of them empty. */
function splitHosts(authority: string, faults: string[]): { host: string; port: string } {
  const places = authority.split(',').map(text => {
    const [, literal, name, port = ''] = /^(?:\[(.*)\]|([^:]*))(?::(.*))?$/.exec(text) ?? []
    if (text.startsWith('[') && !isIPv6(decode(literal ?? '') ?? '')) {
      faults.push('holds no IPv6 address in its brackets')
    }
    return { host: literal ?? name ?? '', port }
  })
  return { host: places.map(each => each.host).join(), port: places.map(each => each.port).join() }
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
function splitOnce(text: string, mark: string): [before: string, after: string] {
  const index = text.indexOf(mark)
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)]
}
