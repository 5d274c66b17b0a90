// The README and docs/configuration.md say what the program does: their tables are those of the code.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { usage } from '../../lib/config/command.ts'
import { settings } from '../../lib/config/settings.ts'
import { meanings, type Reason, sentences } from '../../lib/health/verdict.ts'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
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

test('README explains every sentence that a client can read as the page does, and links its paragraph', () => {
  const table = Object.entries(sentences).map(([reason, text]) => {
    const meaning = meanings[reason as Reason].replace(/pg_hba\.conf|SELECT 1/g, '`$&`')
    const anchor = text.toLowerCase().replaceAll(' ', '-')
    return `| [\`${text}\`](docs/runbook.md#${anchor}) | ${meaning} |`
  })
  const shown = readme.split('\n').filter(line => line.startsWith('| [`'))
  assert.deepEqual(shown.toSorted(), table.toSorted(), `the table should be:\n${table.join('\n')}`)
})

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
