// 250 connection strings from public documents, and what each is understood as.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { readForm } from '../../../lib/conninfo/forms.ts'
import { understood } from './understood.ts'

const rows = readFileSync(new URL('strings.tsv', import.meta.url), 'utf8')
  .split('\n')
  .filter(line => line !== '' && !line.startsWith('#'))
  .map(line => line.split('\t'))

for (const from of new Set(rows.map(([source]) => source))) {
  test(`readParts() understands the connection strings of ${from}`, () => {
    for (const [source, text = '', expected] of rows) {
      if (source === from) assert.equal(understood(text), expected, text)
    }
  })
}

test('no string of the list makes the parser repeat a value in a fault', () => {
  for (const [, text = ''] of rows) {
    // Each piece that could be a password, made unmistakable.
    for (const marked of [text.replace('PW', 'Tr0ub4dor'), `${text}Tr0ub4dor`, `Tr0ub4dor${text}`]) {
      const said = understood(marked)
      if (said.startsWith('refused')) assert.doesNotMatch(said, /Tr0ub4dor/, marked)
    }
  }
})

test('readForm() reads any text without throwing, and each fault is one line', () => {
  const pieces = [
    'postgres://',
    'jdbc:postgresql:',
    'u',
    ':',
    '@',
    'h',
    '/',
    '?',
    '&',
    '=',
    ';',
    "'",
    '"',
    '\\',
    '%',
    '[',
    ' ',
    '$',
  ]
  for (let index = 0; index < 20_000; index++) {
    // Every text is made from the digits of its number: the same in every run.
    const digits = (index * 7919).toString(pieces.length)
    const text = [...digits].map(digit => pieces[Number.parseInt(digit, pieces.length)]).join('')
    const form = readForm(text)
    const faults = 'faults' in form ? form.faults : form.value.faults
    for (const fault of faults) assert.match(fault, /^[^\n]+$/)
  }
})
