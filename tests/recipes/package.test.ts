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

test('npm pack: code with types, package.json, README, licence, nothing else; below 60 kB', () => {
  const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
  const modules = files.filter(name => name.endsWith('.ts')).map(name => `lib/${name.replace(/\.ts$/, '')}`)
  const compiled = ['server', ...modules].flatMap(name => [`dist/${name}.js`, `dist/${name}.d.ts`])
  assert.deepEqual(
    packed.files.map(file => file.path).toSorted(),
    ['LICENSE', 'README.md', 'package.json', ...compiled].toSorted(),
  )
  assert.ok(packed.size < 60_000, `${packed.size} bytes`)
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

test('the types compile for those who import them', async () => {
  const program = `import { readConfig, type Config } from 'pg-health/dist/lib/config/config.js'
    const readFile = () => ({ text: '', mode: 0o600, ownerId: 0 })
    export const port: number = readConfig({}, readFile, '').port
    export const host: Config['host'] = undefined
    // @ts-expect-error
    export const wrong: number = readConfig({}, readFile, '').host`
  writeFileSync(join(installed, 'use.mts'), program)
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--types', '', 'use.mts']
  await run(installed, process.execPath, join(root, 'node_modules/typescript/bin/tsc'), ...options)
})
