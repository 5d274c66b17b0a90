// Reads libpq's keywords, `host=db dbname=app`, and .NET's `Host=db;Database=app`, into names and values.
import type { Result } from '../error.ts'
import { type Dialect, type Form, isName, isPlaceholder, placeholderFault } from './pair.ts'
import { findParameter } from './parameters.ts'

const keyword = /\s*([^=\s]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?!')(?:[^\s\\]|\\.)*))\s*/sy
const dotnetPair = /[\s;]*([^=;]+?)\s*=\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^;]*?))\s*(?:;|$)[\s;]*/sy

/** A ; separates pairs in .NET; in libpq's keywords it is a part of a value. */
export function readPairs(text: string): Result<Form> {
  const keywords = scan(text, keyword)?.map(([name = '', quoted, plain = '']) => {
    return { name, value: (quoted ?? plain).replace(/\\(.)/gs, '$1') }
  })
  const isKnown = ([, name = '']: readonly string[]) => findParameter(name) !== undefined
  const separates = [...text.matchAll(/;\s*([\w ]+?)\s*=/g)].some(isKnown)
  const isDotnet = separates || (text.includes(';') && (keywords?.length ?? 1) === 1)
  if (!isDotnet) return keywords ? formOf('libpq', keywords) : { faults: [noForm] }
  const pairs = scan(text, dotnetPair)?.map(([name = '', double, single, plain = '']) => {
    return { name, value: double?.replaceAll('""', '"') ?? single?.replaceAll("''", "'") ?? plain }
  })
  return pairs ? formOf('dotnet', pairs) : { faults: [noForm] }
}

const noForm =
  'must begin with postgres:// or postgresql://, or be pairs such as host=db dbname=app (a value with spaces in quotes)'

function formOf(dialect: Dialect, written: readonly { name: string; value: string }[]): Result<Form> {
  // A password in the wrong variable may end with =, and its name would be a piece of it.
  if (!written.some(({ name }) => findParameter(name)?.use === 'place')) return { faults: [noForm] }
  const faults: string[] = []
  // What follows the password may be the rest of it: one with a space that is not quoted.
  const password = written.findIndex(({ name }) => findParameter(name)?.name === 'password')
  const pairs = written.map((pair, index) => {
    const known = findParameter(pair.name)?.name
    if (isPlaceholder(known, pair.value)) faults.push(placeholderFault(known))
    return { ...pair, isSafe: isName(pair.name) && (password < 0 || index <= password) }
  })
  return { value: { dialect, pairs, faults } }
}

/** All matches of a sticky pattern, one after the other; undefined when they do not cover the text. */
function scan(text: string, pattern: RegExp): (string | undefined)[][] | undefined {
  const found: (string | undefined)[][] = []
  pattern.lastIndex = 0
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text)
    if (!match) return undefined
    found.push(match.slice(1))
  }
  return found.length > 0 ? found : undefined
}
