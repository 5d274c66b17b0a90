// What the documents name exists: links, files, scripts, options; and each command says which test runs it.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readCommand } from '../../lib/config/command.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const inDocs = readdirSync(path.join(root, 'docs')).filter(name => name.endsWith('.md'))
const names = ['README.md', 'CONTRIBUTING.md', ...inDocs.map(name => `docs/${name}`)]
const documents = new Map(names.map(name => [name, read(name)]))
const scripts: Record<string, string> = JSON.parse(read('package.json')).scripts

/** Each sh block of each document, without the indentation of a list. */
const blocks = [...documents].flatMap(([name, text]) =>
  [...text.matchAll(/^( *)```sh\n([\s\S]+?)\n\1```$/gm)].map(([, indent, block = '']) => ({
    name,
    block: block.replaceAll(RegExp(`^${indent}`, 'gm'), ''),
  })),
)

/** What runs a block, found by a part of it that no other block has. */
const runners: readonly (readonly [part: string, runner: string])[] = [
  // As written, but for addresses, and for kubectl's cluster.
  ['npm ci && npm test', '.ci/run'],
  ['npm start', 'tests/recipes/documents.test.ts'],
  ['psql "$DATABASE_URL"', 'tests/recipes/documents.test.ts'],
  ['openssl s_client', 'tests/recipes/documents.test.ts'],
  ['mkdir -m 700 secrets', 'tests/recipes/documents.test.ts'],
  ['kubectl create secret', 'tests/recipes/documents.test.ts'],
  ['npm ci && npm run build', 'tests/recipes/service.test.ts'],
  ['curl --fail-with-body', 'tests/recipes/consumers.test.ts'],
  ['| tail', 'tests/recipes/runbook.test.ts'],
  ['uniq -c', 'tests/recipes/runbook.test.ts'],
  ['server-timing', 'tests/recipes/runbook.test.ts'],
  // The same script or file, with other arguments.
  ['npm ci && npm run dev', 'tests/slow/dev.test.ts'],
  ['npm run bench', 'tests/slow/bench.test.ts'],
  ['npm run chaos', 'tests/slow/chaos.test.ts'],
  ['docker build -f Containerfile -t pg-health .', 'tests/recipes/containers.test.ts'],
  ['--build-arg VERSION', 'tests/recipes/containers.test.ts'],
  ['tests/unit/health/probe.test.ts', 'package.json'],
  ['npm test', 'package.json'],
]

/** As GitHub makes the anchor of a heading. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

test('each link of a document leads to a file and to a heading that exist', () => {
  for (const [name, text] of documents) {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)|<img src="([^"]+)"/g)].map(
      ([, link, image]) => link ?? image ?? '',
    )
    for (const link of links.filter(link => !/^https?:/.test(link))) {
      const [file = '', anchor] = link.split('#')
      const target = file === '' ? name : path.join(path.dirname(name), file)
      assert.ok(existsSync(path.join(root, target)), `${name}: ${link}`)
      if (anchor !== undefined) assert.ok(anchorsOf(read(target)).includes(anchor), `${name}: ${link}`)
    }
  }
})

test('each path of the repository that a document names exists', () => {
  for (const [name, text] of documents) {
    const found = [...text.matchAll(/\b(?:tests|deploy|docs|lib|bench)\/[\w/.*-]+/g)].map(([found]) => found)
    for (const file of found.map(file => file.replace(/\.$/, '')).filter(file => !file.includes('*'))) {
      assert.ok(existsSync(path.join(root, file)), `${name}: ${file}`)
    }
  }
})

test('each sh block of a document is run by a test, and that test exists', () => {
  assert.ok(blocks.length >= runners.length - 1)
  for (const { name, block } of blocks) {
    const [runner] = runners.filter(([part]) => block.includes(part))
    assert.ok(runner, `${name}: nothing runs\n${block}`)
    assert.ok(existsSync(path.join(root, runner[1])), runner[1])
  }
})

test('each script that a command names is one of package.json, with options that it knows', () => {
  const sources: Record<string, string> = { bench: read('bench/main.ts'), chaos: read('tests/chaos/run.ts') }
  for (const { name, block } of blocks) {
    for (const [line, script = ''] of block.matchAll(
      /\bnpm (?:run )?(test|start|dev|build|bench|chaos|[a-z]+:[a-z]+)\b.*/g,
    )) {
      assert.ok(scripts[script], `${name}: ${line}`)
      const [command = ''] = line.split(' #')
      for (const [, option = ''] of command.matchAll(/--([a-z]+)/g)) {
        assert.match(sources[script] ?? '', RegExp(`--${option}\\b`), `${name}: ${line}`)
      }
    }
  }
})

test('each command line of pg-health in a document is one that the program takes', () => {
  let found = 0
  for (const [name, text] of documents) {
    const lines = text.matchAll(/(?:node dist\/server\.js|npx pg-health) ((?:--)?[a-z][^`|\n]*)/g)
    for (const [line, words = ''] of lines) {
      const args = words.trim().replace('[URL]', 'http://localhost/health').replaceAll('MS', '1').split(/\s+/)
      found += 1
      assert.ok(readCommand(args), `${name}: ${line}`)
    }
  }
  assert.ok(found >= 4, String(found))
})

test('docs/architecture.md names the files of every room', () => {
  const lib = path.join(root, 'lib')
  const rooms = readdirSync(lib, { withFileTypes: true }).filter(entry => entry.isDirectory())
  const expected = rooms.map(({ name }) => {
    const files = readdirSync(path.join(lib, name)).filter(file => file.endsWith('.ts'))
    return [
      name,
      files
        .map(file => file.replace('.ts', ''))
        .toSorted()
        .join(' '),
    ]
  })
  const shown = (documents.get('docs/architecture.md') ?? '').matchAll(
    /^\| `([a-z]+)` \|.*\| ([a-z ]+) \|$/gm,
  )
  assert.deepEqual([...shown].map(([, name, files]) => [name, files]).toSorted(), expected.toSorted())
})
