// The architecture as data: which rooms lib has, which rooms each may know, and through which door.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const lib = new URL('../../lib/', import.meta.url)

/** The rooms, and the rooms that each may import from: those above it, so there is no cycle. All may import error.ts. */
const rooms: Record<string, readonly string[]> = {
  health: [],
  conninfo: [],
  postgres: ['health', 'conninfo'],
  pool: ['health', 'postgres'],
  config: ['conninfo'],
  http: ['health'],
  monitor: ['health'],
  page: ['health', 'monitor'],
  library: ['health', 'pool', 'config', 'http', 'monitor', 'page'],
  client: ['config'],
  system: ['monitor'],
}

/** The door of each room: the files that may be imported from outside it. All other files are private. */
const doors: Record<string, readonly string[]> = {
  health: ['deadline', 'phase', 'probe', 'reply', 'role', 'source', 'verdict'],
  conninfo: ['conninfo', 'parameters'],
  postgres: ['database', 'reason'],
  pool: ['pg', 'source'],
  config: ['command', 'config', 'settings'],
  http: ['handler', 'pages', 'route', 'server', 'web'],
  monitor: ['events', 'history', 'log', 'metrics', 'process', 'report', 'window'],
  page: ['page'],
  library: ['api', 'endpoint', 'options', 'source'],
  client: ['check', 'nagios'],
  system: ['file', 'host', 'shutdown', 'signal', 'systemd', 'version'],
}

/** `lib/http/route.ts` → `http/route.ts`. */
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts'))
  .sort()
const sources = new Map(files.map(file => [file, readFileSync(new URL(file, lib), 'utf8')]))

/** The code without its comments, which stand on lines of their own, and without quoted text. */
function codeOf(source: string): string {
  const lines = source.split('\n').filter(line => !/^\s*(\/\/|\/?\*)/.test(line))
  return lines.join('\n').replace(/'(?:[^'\\\n]|\\.)*'/g, "''")
}

/** What a file imports: files of lib as `room/file.ts`, anything else as it is written. */
function importsOf(file: string): string[] {
  const source = sources.get(file) ?? ''
  return [...source.matchAll(/(?<!\.)\b(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, name = '']) =>
    name.startsWith('.') ? path.posix.join(path.posix.dirname(file), name) : name,
  )
}

const roomOf = (file: string) => path.posix.dirname(file)

test('lib has the rooms of this table, and no other', () => {
  const found = new Set(files.map(roomOf).filter(room => room !== '.'))
  assert.deepEqual([...found].sort(), Object.keys(rooms).sort())
})

test('files of lib are called by one lower-case noun, and none is a drawer for everything', () => {
  for (const file of files) {
    const name = path.posix.basename(file, '.ts')
    assert.match(name, /^[a-z]+$/)
    assert.doesNotMatch(name, /^(utils?|types?|constants?|index|helpers?|common|misc|shared|main)$/)
  }
})

test('a room stands below the rooms it knows', () => {
  const order = Object.keys(rooms)
  for (const [room, known] of Object.entries(rooms)) {
    for (const other of known) assert.ok(order.indexOf(other) < order.indexOf(room), `${room} knows ${other}`)
  }
})

for (const [room, known] of Object.entries(rooms)) {
  test(`${room} imports from ${known.join(', ') || 'no other room'}, through the door`, () => {
    for (const file of files.filter(file => roomOf(file) === room)) {
      for (const name of importsOf(file).filter(
        name => sources.has(name) && ![room, '.'].includes(roomOf(name)),
      )) {
        assert.ok(known.includes(roomOf(name)), `${file} imports ${name}`)
        assert.ok(doors[roomOf(name)]?.includes(path.posix.basename(name, '.ts')), `${name} is private`)
      }
    }
  })
}

test('each room needs no more than the table allows it', () => {
  for (const [room, known] of Object.entries(rooms)) {
    const inside = files.filter(file => roomOf(file) === room)
    const needed = new Set(
      inside
        .flatMap(importsOf)
        .filter(name => sources.has(name))
        .map(roomOf),
    )
    assert.deepEqual(
      known.filter(other => !needed.has(other)),
      [],
      room,
    )
  }
})

test('imports are written at the top', () => {
  for (const [file, source] of sources) {
    assert.doesNotMatch(codeOf(source), /\brequire\b|\bimport\s*\(/, file)
  }
})

test('session alone knows the driver', () => {
  assert.deepEqual(
    files.filter(file => importsOf(file).includes('postgres')),
    ['postgres/session.ts'],
  )
})

test('pool imports no module of Node and no package, and uses no Buffer', () => {
  const reached = new Set(files.filter(file => roomOf(file) === 'pool'))
  for (const file of reached) {
    for (const name of importsOf(file)) {
      assert.ok(sources.has(name), `${file} imports ${name}`)
      reached.add(name)
    }
    assert.doesNotMatch(codeOf(sources.get(file) ?? ''), /(?<![\w.])(Buffer|__dirname|NodeJS)\b/, file)
  }
  assert.ok(reached.has('postgres/reason.ts'))
})

test('what a service imports loads no driver, and of Node only files, addresses and hashes', () => {
  const entry = readFileSync(new URL('../library.ts', lib), 'utf8')
  const loadedBy = (source: string, folder: string) =>
    [...source.matchAll(/^(?:import|export) (?!type)[^;]*?from '([^']+)'/gm)].map(([, name = '']) =>
      name.startsWith('.') ? path.posix.join(folder, name) : name,
    )
  const loaded = new Set(loadedBy(entry, '..').map(name => name.replace('../lib/', '')))
  for (const name of loaded) {
    for (const other of loadedBy(sources.get(name) ?? '', path.posix.dirname(name))) loaded.add(other)
  }
  assert.deepEqual([...loaded].filter(name => !sources.has(name)).sort(), [
    'node:crypto',
    'node:fs',
    'node:net',
  ])
  assert.ok(loaded.has('pool/pg.ts'))
})

test('lib uses no global that is shared; only host.ts gets the process, from server.ts', () => {
  const shared = /(?<![\w.$])(process|console|global|globalThis)\b(?!\s*:)/
  for (const [file, source] of sources) {
    if (file !== 'system/host.ts') assert.doesNotMatch(codeOf(source), shared, file)
  }
})

test('each file of lib says in its first line what it is for, in one sentence', () => {
  for (const [file, source] of sources) {
    const [line = ''] = source.split('\n', 1)
    assert.match(line, /^\/\/ [A-Z].{20,106}[.]$/, file)
  }
})

test('importing lib or the library has no effect: nothing is printed, kept alive or changed', async () => {
  const program = `
    const { deepEqual } = (await import('node:assert/strict')).default
    await import('postgres')
    const state = () => ({
      listeners: process.eventNames().map(name => [name, process.listenerCount(name)]),
      environment: { ...process.env },
      globals: Object.getOwnPropertyNames(globalThis),
    })
    for (const file of ${JSON.stringify([...files, '../library.ts'])}) {
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
