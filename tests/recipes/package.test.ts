// The package as npm would publish it, installed into an empty folder.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { startChild } from '../support/child.ts'
import { openPostgres } from '../support/postgres.ts'
import { ask } from '../support/server.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
/** A user's environment: without what `npm test` sets for its children, except npm's registry and cache. */
const env = Object.fromEntries(
  Object.entries({
    ...process.env,
    // npm uses the Node.js that runs this test.
    PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter),
  }).filter(
    ([name]) => !/^(npm_(?!config_(registry|cache|userconfig)$)|PG|DATABASE_URL|HOST$|PORT$)/.test(name),
  ),
)

interface Packed {
  readonly filename: string
  readonly size: number
  readonly files: readonly { readonly path: string }[]
}

let folder: string
let installed: string
let built: string
let packed: Packed

async function run(cwd: string, program: string, ...args: string[]) {
  return promisify(execFile)(program, args, { cwd, env, timeout: 120_000 })
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pg-health-'))
  installed = join(folder, 'installed')
  built = join(folder, 'built')
  // A copy, because packing deletes and builds dist/, which other tests run.
  const copy = join(folder, 'checkout')
  const left = new Set(['node_modules', '.git', 'dist', 'secrets'])
  cpSync(root, copy, { recursive: true, filter: path => !left.has(basename(path)) })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  // Files of an earlier build are not published.
  mkdirSync(join(copy, 'dist'))
  writeFileSync(join(copy, 'dist', 'old.js'), '')
  packed = JSON.parse((await run(copy, 'npm', 'pack', '--json', '--pack-destination', folder)).stdout)[0]

  await run(copy, 'npm', 'run', 'build', '--', `--outdir=${join(built, 'dist')}`)
  cpSync(join(root, 'package.json'), join(built, 'package.json'))

  mkdirSync(installed)
  // Without a prefix npm would take a folder above that has a package.json.
  const options = ['--prefix', installed, '--prefer-offline', '--no-audit', '--no-fund']
  await run(installed, 'npm', 'install', ...options, join(folder, packed.filename))
})
after(() => rmSync(folder, { recursive: true }))

test('npm pack: bundled code, the types of the library, package.json, README, licence; below 80 kB', () => {
  const code = /^dist\/(server|library|[\w-]+-[A-Z0-9]{8})\.js$/
  const types = /^dist\/(library|lib\/[\w/]+)\.d\.ts$/
  const rest = packed.files.map(file => file.path).filter(path => !code.test(path) && !types.test(path))
  assert.deepEqual(rest.toSorted(), ['LICENSE', 'README.md', 'package.json'])
  assert.ok(packed.size < 80_000, `${packed.size} bytes`)
})

test('publint finds nothing in the package', async () => {
  const pkgDir = join(installed, 'node_modules', 'pg-health')
  const { messages, pkg } = await publint({ pkgDir, pack: false, strict: true })
  assert.deepEqual(
    messages.map(message => formatMessage(message, pkg, { color: false })),
    [],
  )
})

test('installed from the tarball: the program and its one dependency, nothing else', () => {
  const names = readdirSync(join(installed, 'node_modules')).filter(name => !name.startsWith('.'))
  assert.deepEqual(names, ['pg-health', 'postgres'])
})

test("npx pg-health --version prints package.json's version", async () => {
  const { stdout } = await run(installed, 'npx', '--offline', 'pg-health', '--version')
  assert.equal(stdout, `pg-health ${manifest.version}\n`)
})

test('npx pg-health serves, and npx pg-health check asks it', { timeout: 120_000 }, t =>
  serves(t, installed, 'npx', '--offline', 'pg-health'),
)

test(
  'what npm run build makes serves and checks, with only package.json beside it',
  { timeout: 120_000 },
  t => serves(t, built, process.execPath, 'dist/server.js'),
)

async function serves(t: TestContext, cwd: string, program: string, ...args: string[]) {
  const postgres = await openPostgres()
  t.after(() => postgres.close())
  const server = startChild(program, args, {
    cwd,
    env: { ...env, DATABASE_URL: postgres.url, HOST: '127.0.0.1', PORT: '0', DRAIN_MS: '0' },
    // A new process group, as at a terminal, where Ctrl-C reaches both npx and the server.
    detached: true,
  })
  t.after(() => signal('SIGKILL'))
  const url = await server.said(/"url":"([^"]+)"/)
  const { status, body } = await ask(url)
  assert.deepEqual([status, body], [200, '{"status": "healthy","database": "connected"}'])
  const check = await run(cwd, program, ...args, 'check', url)
  assert.equal(check.stdout, '✓ API is healthy\n')
  signal('SIGINT')
  await server.ended
  assert.match(server.output(), /"event":"stopped"/)
  await assert.rejects(run(cwd, program, ...args, 'check', url), { code: 1 })

  function signal(name: NodeJS.Signals) {
    try {
      process.kill(-Number(server.process.pid), name)
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
    }
  }
}

test('attw finds nothing in the package: import, require() and the types agree', async () => {
  // The package is ESM only, and Node.js 20.19 and newer can require() that. attw exits with 1 if it finds a problem.
  const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js')
  await run(folder, process.execPath, attw, packed.filename, '--profile', 'esm-only')
})

test('import and require() have no effect, and do not load the driver', async () => {
  const program = `
    const before = Object.keys(globalThis).join()
    const names = Object.keys(MODULE).filter(name => !/^(__esModule|module\\.exports)$/.test(name))
    const listeners = process.eventNames().filter(name => process.listenerCount(name) > 0)
    const driver = process.moduleLoadList.includes('NativeModule tls')
    console.log(JSON.stringify([names.sort(), Object.keys(globalThis).join() === before, driver]))`
  const ways = [
    ['use.mjs', program.replace('MODULE', "await import('pg-health')")],
    ['use.cjs', program.replace('MODULE', "require('pg-health')")],
  ] as const
  for (const [file, text] of ways) {
    writeFileSync(join(installed, file), text)
    const { stdout } = await run(installed, process.execPath, '--no-warnings', file)
    assert.deepEqual(JSON.parse(stdout), [['ConfigError', 'createHealth', 'pgPool'], true, false], file)
  }
})

test('createHealth() from the package answers on a connection of its own', async t => {
  const postgres = await openPostgres()
  t.after(() => postgres.close())
  const program = `
    import { createHealth } from 'pg-health'
    const health = createHealth({ database: process.env.DATABASE_URL })
    const response = await health.fetch(new Request('http://h/health'))
    console.log(response.status, await response.text())
    await health.close()`
  writeFileSync(join(installed, 'serve.mjs'), program)
  const options = { cwd: installed, env: { ...env, DATABASE_URL: postgres.url }, timeout: 60_000 }
  const { stdout } = await promisify(execFile)(process.execPath, ['serve.mjs'], options)
  assert.equal(stdout, '200 {"status": "healthy","database": "connected"}\n')
})

test('the types compile for those who import them', async () => {
  const program = `import { createHealth, pgPool, type Health, type PgPool } from 'pg-health'
    import { createServer } from 'node:http'
    declare const pool: PgPool
    const health: Health = createHealth({ check: pgPool(pool), timeoutMs: 1000 })
    createServer(health.handler)
    createHealth({ check: async signal => signal.aborted })
    // @ts-expect-error
    createHealth({ check: pgPool(pool), database: 'postgres://h/d' })`
  writeFileSync(join(installed, 'use.mts'), program)
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', ...types, 'use.mts']
  await run(installed, process.execPath, join(root, 'node_modules/typescript/bin/tsc'), ...options)
})
