// The architecture as data: who may import whom, and what no file of lib may do.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const lib = new URL('../lib/', import.meta.url)

/** What each file imports, all of it. A file stands below those it imports: nothing goes round in circles. */
const imports: Record<string, readonly string[]> = {
  // Words, and plain functions on them.
  health: [],
  failure: ['health'],
  route: ['health'],
  target: ['node:net'],
  config: ['target', 'node:net'],
  command: ['node:util'],
  hour: ['health'],
  history: ['health', 'hour'],
  // What people look at.
  unit: [],
  markup: [],
  chart: ['hour'],
  script: [],
  asset: ['chart', 'script', 'node:crypto'],
  page: ['asset', 'chart', 'health', 'history', 'hour', 'markup', 'script', 'unit'],
  // Everything below does something; what it does it with comes from server.ts.
  log: [],
  report: ['config', 'failure', 'health', 'log'],
  series: [],
  metrics: ['health', 'series'],
  runtime: ['series', 'node:fs'],
  probe: [],
  connections: ['node:http', 'node:net'],
  http: ['connections', 'health', 'route', 'node:http', 'node:net'],
  lifecycle: ['failure', 'log'],
  systemd: ['config', 'failure', 'log', 'target', 'node:child_process'],
  client: ['node:http', 'node:https'],
  nagios: ['client'],
  wait: ['client'],
  check: ['client', 'nagios', 'wait'],
  // PostgreSQL; nothing above knows of it.
  dial: ['failure', 'target', 'node:dns', 'node:net', 'node:tls'],
  guard: ['failure'],
  session: ['guard', 'dial', 'failure', 'target', 'node:net', 'postgres'],
  database: ['dial', 'failure', 'health', 'session', 'target'],
}

const entries = readdirSync(lib)
const files = entries.map(entry => entry.replace(/\.ts$/, ''))
const sources = new Map(files.map(file => [file, readFileSync(new URL(`${file}.ts`, lib), 'utf8')]))

/** The code without its comments, which stand on lines of their own, and without quoted text. */
function codeOf(source: string): string {
  const lines = source.split('\n').filter(line => !/^\s*(\/\/|\/?\*)/.test(line))
  return lines.join('\n').replace(/'(?:[^'\\\n]|\\.)*'/g, "''")
}

test('lib has the files of this table, and no other', () => {
  assert.deepEqual(
    entries.toSorted(),
    Object.keys(imports)
      .map(file => `${file}.ts`)
      .toSorted(),
  )
})

test('files of lib are called by one lower-case noun, and none is a drawer for everything', () => {
  for (const file of files) {
    assert.match(file, /^[a-z]+$/)
    assert.doesNotMatch(file, /^(utils?|types?|constants?|index|helpers?|common|misc|shared|main)$/)
  }
})

for (const [file, source] of sources) {
  test(`${file} imports what the table allows: ${imports[file]?.join(', ') || 'nothing'}`, () => {
    const found = [...source.matchAll(/(?<!\.)\b(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, name = '']) =>
      name.replace(/^\.\/(\w+)\.ts$/, '$1'),
    )
    assert.deepEqual(found.toSorted(), [...(imports[file] ?? [])].toSorted())
    assert.doesNotMatch(codeOf(source), /\brequire\b|\bimport\s*\(/, 'imports are written at the top')
  })
}

test('imports go upwards in the table', () => {
  const order = Object.keys(imports)
  for (const [file, names] of Object.entries(imports)) {
    for (const name of names.filter(name => name in imports)) {
      assert.ok(order.indexOf(name) < order.indexOf(file), `${file} imports ${name}`)
    }
  }
})

test('session alone knows the driver', () => {
  const knowing = Object.keys(imports).filter(file => imports[file]?.includes('postgres'))
  assert.deepEqual(knowing, ['session'])
})

test('lib leaves process, console and every other global that is shared to server.ts', () => {
  const shared = /(?<![\w.$])(process|console|global|globalThis)\b(?!\s*:)/
  for (const [file, source] of sources) assert.doesNotMatch(codeOf(source), shared, file)
})

test('each file of lib says in its first line what it is for, in one sentence', () => {
  for (const [file, source] of sources) {
    const [line = ''] = source.split('\n', 1)
    assert.match(line, /^\/\/ [A-Z].{20,106}[.]$/, file)
  }
})

test('importing lib has no effect: nothing is printed, kept alive or changed', async () => {
  const program = `
    const { deepEqual } = (await import('node:assert/strict')).default
    await import('postgres')
    const state = () => ({
      listeners: process.eventNames().map(name => [name, process.listenerCount(name)]),
      environment: { ...process.env },
      globals: Object.getOwnPropertyNames(globalThis),
    })
    for (const file of ${JSON.stringify(entries)}) {
      const before = state()
      await import(${JSON.stringify(lib.href)} + file)
      deepEqual(state(), before, file)
    }`
  const args = ['--import', import.meta.resolve('tsx'), '--input-type=module', '--eval', program]
  const env = { PATH: process.env['PATH'], PGHOST: 'nowhere' }
  // That the child ends by itself, before it is killed, shows that nothing keeps it alive.
  const options = { cwd: fileURLToPath(lib), env, timeout: 60_000 }
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, options)
  assert.deepEqual({ stdout, stderr }, { stdout: '', stderr: '' })
})
