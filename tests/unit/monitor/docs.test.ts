// docs/monitoring.md has the metrics and the events of the program.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { events } from '../../../lib/monitor/events.ts'
import type { Series } from '../../../lib/monitor/prometheus.ts'
import { createTable } from '../../support/metrics.ts'

const document = readFileSync(new URL('../../../docs/monitoring.md', import.meta.url), 'utf8')

/** The table that the document has below a marker. */
function tableBelow(marker: string): string {
  const [, table] = RegExp(`^<!-- ${marker}: .* -->\\n\\n((?:\\|.*\\n)*)`, 'm').exec(document) ?? []
  assert.ok(table !== undefined, `no marker for ${marker}`)
  return table.trimEnd()
}

function assertSame(marker: string, rows: readonly string[]) {
  const expected = rows.join('\n')
  assert.ok(tableBelow(marker) === expected, `the table of ${marker} should be:\n${expected}\n`)
}

const code = (names: readonly string[]) => names.map(name => `\`${name}\``).join(', ') || '–'

/** The names of the labels that the samples have. */
function labelsOf({ samples }: Series): string[] {
  return [
    ...new Set(
      samples().flatMap(([after]) => [...after.matchAll(/([a-z]+)="/g)].map(([, name = '']) => name)),
    ),
  ]
}

test("the document's table of metrics is the program's", () => {
  const rows = createTable().series.map(series => {
    return `| \`${series.name}\` | ${series.type} | ${code(labelsOf(series))} | ${series.help} |`
  })
  assertSame('metrics', ['| metric | type | labels | meaning |', '|---|---|---|---|', ...rows])
})

test("the document's table of log events is the program's", () => {
  const rows = Object.entries(events).map(
    ([name, { level, fields, meaning }]) => `| \`${name}\` | ${level} | ${code(fields)} | ${meaning} |`,
  )
  assertSame('events', ['| event | level | fields | meaning |', '|---|---|---|---|', ...rows])
})

test('each metric and each event says what it means in whole sentences', () => {
  const meanings = [
    ...createTable().series.map(({ help }) => help),
    ...Object.values(events).map(({ meaning }) => meaning),
  ]
  for (const meaning of meanings) assert.match(meaning, /^[A-Z`].*\.$/)
})
