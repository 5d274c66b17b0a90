// The README and docs/configuration.md say what the program does: their tables are those of the code.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { usage } from '../../lib/config/command.ts'
import { settings } from '../../lib/config/settings.ts'
import { lagMeanings, lagSentences } from '../../lib/health/role.ts'
import { meanings, sentences } from '../../lib/health/verdict.ts'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const availability = readFileSync(new URL('../../docs/high-availability.md', import.meta.url), 'utf8')
const configuration = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
const scripts = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).scripts

/** The row of each setting, as both tables of settings have it. */
const rows = settings.map(
  ({ name, defaultText: text, accepts, meaning }) =>
    `| \`${name}\` | ${text || '–'} | ${accepts} | ${meaning} |`,
)
const head = ['| variable | default | must be | what for |', '|---|---|---|---|']

test("docs/configuration.md's table of settings is the program's", () => {
  const table = [...head, ...rows].join('\n')
  assert.ok(configuration.includes(table), `the table should be:\n${table}`)
})

test("README's shorter table of settings has rows of the program's", () => {
  const shown = (readme.split(head.join('\n'))[1] ?? '').split('\n\n')[0]?.trim().split('\n') ?? []
  const kept = shown.map(row => row.split(' | ', 1)[0] ?? '')
  const table = rows.filter(row => kept.some(name => row.startsWith(`${name} |`))).join('\n')
  assert.equal(shown.join('\n'), table, `the table should be:\n${table}`)
  assert.ok(shown.length >= 5)
})

const about = { ...sentences, ...lagSentences }
/** What only a client can read that wants a role, by its path or by the settings. */
const roleReasons = ['standby', 'read_only', 'primary', 'lagging', 'lag_unknown']

test('README explains every sentence of /health as the page does, and links its paragraph', () => {
  const reasons = Object.keys(sentences).filter(reason => !roleReasons.includes(reason))
  compareTable(readme, 'docs/', reasons)
})

test('docs/high-availability.md explains the sentences about roles in the same way', () => {
  compareTable(availability, '', roleReasons)
})

function compareTable(document: string, folder: string, reasons: readonly string[]) {
  const table = reasons.map(reason => {
    const text = about[reason as keyof typeof about]
    const code = /pg_hba\.conf|SELECT 1|default_transaction_read_only|pg_read_all_stats/g
    const meaning = { ...meanings, ...lagMeanings }[reason as keyof typeof about].replace(code, '`$&`')
    const anchor = text.toLowerCase().replaceAll(' ', '-')
    return `| [\`${text}\`](${folder}runbook.md#${anchor}) | ${meaning} |`
  })
  const shown = document.split('\n').filter(line => line.startsWith('| [`'))
  assert.deepEqual(shown.toSorted(), table.toSorted(), `the table should be:\n${table.join('\n')}`)
}

test('README shows the two commands, each on one line, and their scripts exist', () => {
  for (const script of ['dev', 'test']) {
    assert.ok(scripts[script])
    const command = script === 'test' ? 'npm ci && npm test' : `npm ci && npm run ${script}`
    assert.ok(readme.includes(`\n\`\`\`sh\n${command}\n\`\`\`\n`), command)
  }
})

test("README's command line is the program's", () => {
  for (const word of ['check [URL]', '--check-config', '--help']) {
    assert.ok(readme.includes(word) && usage.includes(word), word)
  }
})
