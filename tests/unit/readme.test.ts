// The README says what the program does: its tables are those of the code.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { usage } from '../../lib/config/command.ts'
import { settings } from '../../lib/config/settings.ts'
import { meanings, type Reason, sentences } from '../../lib/health/verdict.ts'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const scripts = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).scripts

test("README's table of settings is the program's", () => {
  const rows = settings.map(
    ({ name, defaultText: text, accepts, meaning }) =>
      `| \`${name}\` | ${text || '–'} | ${accepts} | ${meaning} |`,
  )
  const table = ['| variable | default | must be | what for |', '|---|---|---|---|', ...rows].join('\n')
  assert.ok(readme.includes(table), `the table should be:\n${table}`)
})

test('README explains every sentence that a caller can read as the page does, and no other', () => {
  const explained = [...readme.matchAll(/^\| `([a-zA-Z0-9 ]+)` \| ([^|]+) \|$/gm)].map(
    ([, sentence, meaning = '']) => [sentence, meaning.replaceAll('`', '')],
  )
  const expected = Object.entries(sentences).map(([reason, text]) => [text, meanings[reason as Reason]])
  assert.deepEqual(explained.sort(), expected.sort())
})

test('README shows the two commands, each on one line, and their scripts exist', () => {
  for (const script of ['dev', 'test']) {
    assert.ok(scripts[script])
    const command = script === 'test' ? 'npm ci && npm test' : `npm ci && npm run ${script}`
    assert.ok(readme.includes(`\n\`\`\`sh\n${command}\n\`\`\`\n`), command)
  }
})

test("README's command line is understood by the program", () => {
  for (const word of ['check [URL]', '--check-config', '--help']) {
    assert.ok(readme.includes(word) && usage.includes(word), word)
  }
})
