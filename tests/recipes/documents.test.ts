// Commands and samples of the documents, run as they are written: only addresses are the test's own.
import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { createRoot, sign } from '../support/certificates.ts'
import { openFolder, openService, runProgram, startProgram } from '../support/consumers.ts'
import { openPostgres } from '../support/postgres.ts'
import { ask, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const deploying = readFileSync(join(root, 'docs/deploying.md'), 'utf8')
const runbook = readFileSync(join(root, 'docs/runbook.md'), 'utf8')

/** The one fenced block of this language that has these words. */
function blockOf(text: string, language: string, words: string): string {
  const all = [...text.matchAll(RegExp(`^\`\`\`${language}\\n([\\s\\S]+?)\\n\`\`\`$`, 'gm'))]
  const found = all.map(([, block = '']) => block).filter(block => block.includes(words))
  assert.equal(found.length, 1, words)
  return found[0] ?? ''
}

/** False, and the test skipped, without a program that .ci/run does not install. */
function has(t: TestContext, name: string): boolean {
  const found = (process.env['PATH'] ?? '').split(delimiter).some(folder => existsSync(join(folder, name)))
  if (!found) t.skip(`${name} is not installed`)
  return found
}

test("the README's first screen is what the program answers, healthy and with a frozen PostgreSQL", async t => {
  if (findTool(t, 'curl') === undefined) return
  const { postgres, server } = await openService(t)
  const sample = blockOf(readme, 'console', 'curl -i')
  const steps = sample.split(/^\$ /m).slice(1)
  assert.equal(steps.length, 2)
  for (const step of steps) {
    const [command = '', ...expected] = step.trimEnd().split('\n')
    if (command.includes('frozen')) postgres.freeze()
    // Without curl's table of progress, which a terminal shows only for files.
    const line = command.replace('localhost:8000', new URL(server.origin).host).replace('curl', 'curl -sS')
    const { output } = await runProgram('sh', ['-c', line], { no_proxy: '*' })
    postgres.thaw()
    assert.deepEqual(shapeOf(output), shapeOf(expected.join('\n')))
  }
})

/** Without what differs from one request to the next: durations and the date. */
function shapeOf(answer: string): string[] {
  const lines = answer.split(/\r?\n/)
  return lines.map(line => line.replace(/^(x-process-time-ms: )\d+|^(Date: ).*|(dur=)[\d.]+/g, '$1$2$3'))
}

test("the README's npm start serves the database of its URL", async t => {
  const postgres = await openPostgres()
  t.after(() => postgres.close())
  const [line = ''] = blockOf(readme, 'sh', 'npm start').split('\n')
  const script = `cd '${root}' && ${line.replace(/DATABASE_URL=\S+/, `DATABASE_URL=${postgres.url}`)}`
  const env = { HOME: process.env['HOME'] ?? '/', HOST: '127.0.0.1', PORT: '0', DRAIN_MS: '0' }
  // `exec`, so that the signal that ends the test's program reaches npm, which passes it on.
  const program = startProgram(t, 'sh', ['-c', script.replace('npm start', 'exec npm start')], env)
  const url = (await program.said(/"url":"[^"]+"/)).slice(7, -1)
  assert.equal((await ask(url)).status, 200)
})

test("the runbook's psql line asks the database of DATABASE_URL", async t => {
  if (!has(t, 'psql')) return
  const postgres = await openPostgres()
  t.after(() => postgres.close())
  const { code, output } = await runProgram('sh', ['-c', blockOf(runbook, 'sh', 'psql')], {
    DATABASE_URL: postgres.url,
  })
  assert.deepEqual([code, output.includes('(1 row)')], [0, true], output)
})

test("the runbook's openssl line shows when a certificate expires, and its names", async t => {
  if (!has(t, 'openssl')) return
  const { certificate, key } = sign(createRoot(), 'DNS:db.example')
  const postgres = await openPostgres({
    settings: { ssl: 'on' },
    files: { 'server.crt': certificate, 'server.key': key },
  })
  t.after(() => postgres.close())
  const line = blockOf(runbook, 'sh', 'openssl').replace('HOST:PORT', `127.0.0.1:${postgres.port}`)
  const { output } = await runProgram('sh', ['-c', line])
  assert.match(output, /^notAfter=.+$/m)
  assert.match(output, /DNS:db\.example/)
})

test('the line for Compose makes a password that both containers can read', async t => {
  if (!has(t, 'openssl')) return
  const folder = openFolder(t)
  const [line = ''] = blockOf(deploying, 'sh', 'secrets').split('\n')
  const { code, output } = await runProgram('sh', ['-c', `cd '${folder}' && ${line}`])
  assert.deepEqual([code, output], [0, ''])
  assert.equal(statSync(join(folder, 'secrets')).mode & 0o777, 0o700)
  assert.equal(statSync(join(folder, 'secrets/password')).mode & 0o777, 0o644)
  assert.match(readFileSync(join(folder, 'secrets/password'), 'utf8'), /^[0-9a-f]{48}\n$/)
})

test('the lines for Kubernetes make the secret and the objects, on a cluster that only looks', async t => {
  if (!has(t, 'kubectl')) return
  const folder = openFolder(t)
  writeFileSync(join(folder, 'database-url'), 'postgres://x@y/z')
  const looking = `kubectl() {
    case $1 in
      create) command kubectl "$@" --dry-run=client --output name ;;
      apply) command kubectl kustomize '${root}'"$3" ;;
    esac
  }`
  const script = `${looking}\ncd '${folder}' && ${blockOf(deploying, 'sh', 'kubectl')}`
  const { code, output } = await runProgram('sh', ['-ec', script], { HOME: folder })
  assert.equal(code, 0, output)
  assert.match(output, /^secret\/pg-health$/m)
  const kinds = [...output.matchAll(/^kind: (\w+)$/gm)].map(([, kind]) => kind)
  assert.deepEqual(kinds.toSorted(), ['Deployment', 'PodDisruptionBudget', 'Service'])
})

test("a role made as written is healthy, and its checks leave PostgreSQL's log as written", async t => {
  const postgres = await openPostgres({ settings: { log_statement: 'all', log_min_duration_statement: '0' } })
  t.after(() => postgres.close())
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  await client.query(blockOf(deploying, 'sql', 'CREATE ROLE'))

  const url = new URL(postgres.url)
  url.username = 'health'
  /** What PostgreSQL logs of three checks on a new connection. */
  const loggedOf = async () => {
    const before = postgres.log().length
    const server = await startServer({ DATABASE_URL: url.href })
    for (let time = 0; time < 3; time += 1) {
      assert.equal((await ask(`${server.origin}/health`)).status, 200)
    }
    await server.stop()
    return postgres.log().slice(before)
  }
  assert.ok((await loggedOf()).split('SELECT 1').length > 3)
  await client.query(blockOf(deploying, 'sql', 'ALTER ROLE'))
  await client.end()
  assert.doesNotMatch(await loggedOf(), /SELECT 1|duration/)
})
