// SASLprep: the examples of RFC 4013, PostgreSQL's rule for what fails, and the tables of RFC 3454.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { saslprep } from '../../../lib/postgres/saslprep.ts'
import { findTool } from '../../support/tools.ts'

const prepared: [title: string, password: string, result: string][] = [
  ['leaves ASCII as it is, control characters too', 'Pa ss\u0007', 'Pa ss\u0007'],
  ['removes a soft hyphen', 'I\u00adX', 'IX'],
  ['keeps the case', 'USÉR', 'USÉR'],
  ['applies NFKC', 'ª\u2168', 'aIX'],
  ['makes a no-break space a space', 'a\u00a0b', 'a b'],
  ['makes U+200B a space, as PostgreSQL does, though RFC 3454 also maps it to nothing', 'a\u200bb', 'a b'],
  ['composes', 'e\u0301', 'é'],
  ['prepares right-to-left text', 'ا\u00a0ب', 'ا ب'],
  ['keeps a password of nothing but invisible characters', '\u00ad', '\u00ad'],
  ['keeps a password with a control character', 'ª\u0007', 'ª\u0007'],
  ['keeps a password with a character later than Unicode 3.2', 'ª🦊', 'ª🦊'],
  ['keeps a password with half a surrogate pair', 'ª\ud83e', 'ª\ud83e'],
  ['keeps a password that mixes directions', 'اªب', 'اªب'],
  ['keeps a password that begins right to left and ends otherwise', 'ا\u00a01', 'ا\u00a01'],
]
for (const [title, password, result] of prepared) {
  test(`saslprep() ${title}`, () => assert.equal(saslprep(password), result))
}

test("saslprep() has the tables of RFC 3454, as Python's stringprep has them", t => {
  const python = findTool(t, 'python3')
  if (python === undefined) return
  const program = `
from stringprep import *
def name(c):
    # Mapped before the tables count.
    if in_table_b1(c) or in_table_c12(c): return 'N'
    if any(f(c) for f in (in_table_a1, in_table_c21_c22, in_table_c3, in_table_c4, in_table_c5, in_table_c6,
        in_table_c7, in_table_c8, in_table_c9)): return 'X'
    return 'R' if in_table_d1(c) else 'L' if in_table_d2(c) else 'N'
before = ''
for code in range(0x110000):
    now = name(chr(code))
    if now != before: print(code, now)
    before = now
`
  const lines = execFileSync(python, ['-c', program], { encoding: 'utf8' }).trim().split('\n')
  const starts = lines.map(line => line.split(' ')).map(([code, name]) => ({ code: Number(code), name }))
  assert.ok(starts.length > 900)
  for (const [index, { code, name }] of starts.entries()) {
    const last = (starts[index + 1]?.code ?? 0x110000) - 1
    for (const each of [code, last]) assert.equal(classOf(each), name, each.toString(16))
  }
})

/** What saslprep() takes a character for: it maps the no-break space beside it only when it allows all of the password. */
function classOf(codePoint: number): string {
  const character = String.fromCodePoint(codePoint)
  const isAllowed = !saslprep(`\u00a0${character}`).startsWith('\u00a0')
  const isAllowedInArabic = !saslprep(`ا\u00a0${character}ا`).startsWith('ا\u00a0')
  if (isAllowed) return isAllowedInArabic ? 'N' : 'L'
  return isAllowedInArabic ? 'R' : 'X'
}
