// docs/configuration.md says what the parser does: its table is made from the list that the parser uses.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { Parameter } from '../../../lib/conninfo/parameter.ts'
import { parameters } from '../../../lib/conninfo/parameters.ts'
import { understood } from '../conninfo/understood.ts'

const text = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')

const uses = {
  place: 'honoured',
  honoured: 'honoured',
  word: 'honoured',
  'left out': 'left out',
  refused: 'refused',
}

/** Parameters that share their row, because all but the name is the same. */
function rowsOf(list: readonly Parameter[]): string[] {
  return [...groupBy(list).values()].map(group => {
    const names = group.flatMap(({ name, aliases = [] }) => [name, ...aliases]).map(name => `\`${name}\``)
    const [{ variable, use, accepts, meaning, refuses, defaultText }] = group as [Parameter]
    const usual = defaultText === undefined ? '' : ` (${defaultText})`
    const what = refuses === undefined ? uses[use] : `${uses[use]}; \`${refuses}\` is refused`
    const cells = [
      names.join(', '),
      variable ? `\`${variable}\`` : '',
      what,
      `${accepts ?? ''}${usual}`,
      meaning,
    ]
    return `| ${cells.join(' | ')} |`
  })
}

function keyOf({ name, variable, use, meaning }: Parameter): string {
  return use === 'left out' && variable === undefined ? meaning : name
}

function groupBy(list: readonly Parameter[]): Map<string, Parameter[]> {
  const groups = new Map<string, Parameter[]>()
  for (const each of list) groups.set(keyOf(each), [...(groups.get(keyOf(each)) ?? []), each])
  return groups
}

test("docs/configuration.md has the parser's table of parameters", () => {
  const head = [
    '| parameter | variable | here | must be (default) | what for, or what instead |',
    '|---|---|---|---|---|',
  ]
  const table = [...head, ...rowsOf(parameters)].join('\n')
  assert.ok(text.includes(`${table}\n\n`), `the table should be:\n${table}`)
})

test('docs/configuration.md shows connection strings that are understood as it says', () => {
  const rows = [...text.matchAll(/^\| `([^`]+)` \| `([^`]+)` \|$/gm)]
  assert.ok(rows.length > 8)
  for (const [, string = '', expected] of rows) assert.equal(understood(string), expected, string)
})
