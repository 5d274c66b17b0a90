// What `npm run dev` leaves behind, however it ends: nothing.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ask } from '../support/server.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const dev = ['--import', 'tsx', 'dev.ts']
/** What a developer's shell may hold; none of it is meant for the throwaway database. */
const elsewhere = { PGHOST: 'db.example', PGSSLMODE: 'require', DATABASE_URL: 'x', DATABASE_URL_FILE: '/x' }
const healthy = '{"status": "healthy","database": "connected"}'

/** Only for a test that would never end otherwise. */
const guard = { timeout: 60_000 }

/** Starts dev.ts, or what else `command` says, in a process group of its own, as a shell would. */
function start(t: TestContext, settings: Record<string, string> = {}, command = dev) {
  const env = { ...process.env, ...elsewhere, HOST: '127.0.0.1', PORT: '0', DRAIN_MS: '0', ...settings }
  const child = spawn(process.execPath, command, { cwd: root, env, detached: true, stdio: 'pipe' })
  let output = ''
  const collect = (chunk: Buffer) => {
    output += chunk
    child.emit('output')
  }
  child.stdout.on('data', collect)
  child.stderr.on('data', collect)
  // Not 'exit': whoever is left of its children still holds its output.
  const ended = once(child, 'close').then(([code, signal]: (number | string | null)[]) => code ?? signal)
  t.after(async () => {
    child.kill('SIGTERM')
    await Promise.race([ended, setTimeout(10_000, undefined, { ref: false })])
    child.kill('SIGKILL')
  })
  return { child, ended, said, output: () => output }

  /** Resolves with the match, now or later. */
  async function said(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(output)?.[0]
      if (found !== undefined) return found
      if (child.exitCode !== null) assert.fail(`ended with ${child.exitCode}: ${output}`)
      await Promise.race([once(child, 'output'), ended])
    }
  }
}

const listening = /http:\/\/[^"\s]+\/health/

/** Neither the process nor the folder that `output` speaks of. */
function assertNothingIsLeft(output: string) {
  const [, pid, folder] = /PostgreSQL (\d+) is up in (\S+):/.exec(output) ?? assert.fail(output)
  assert.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' })
  assert.equal(existsSync(String(folder)), false)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`dev serves a healthy answer; ${signal} ends it with exit 0 and leaves nothing`, guard, async t => {
    const { child, ended, said, output } = start(t)
    const { status, body } = await ask(await said(listening))
    assert.deepEqual({ status, body }, { status: 200, body: healthy })
    child.kill(signal)
    assert.equal(await ended, 0)
    assertNothingIsLeft(output())
  })
}

test('dev passes a second signal on, and the server exits at once', guard, async t => {
  const { child, ended, said, output } = start(t, { DRAIN_MS: '60000' })
  await said(listening)
  child.kill('SIGTERM')
  await said(/"event":"stopping"/)
  child.kill('SIGINT')
  assert.equal(await ended, 130)
  assertNothingIsLeft(output())
})

test('dev passes SIGQUIT on, ends with exit 131 and leaves nothing', guard, async t => {
  const { child, ended, said, output } = start(t)
  await said(listening)
  child.kill('SIGQUIT')
  assert.equal(await ended, 131)
  assertNothingIsLeft(output())
})

test('dev that is told to stop while PostgreSQL comes up never starts the server', guard, async t => {
  const { child, ended, said, output } = start(t)
  await said(/starting a throwaway PostgreSQL/)
  child.kill('SIGINT')
  assert.equal(await ended, 0)
  assert.doesNotMatch(output(), listening)
  assertNothingIsLeft(output())
})

test(
  "dev hands its arguments to the server, and ends with the server's code when that ends by itself",
  guard,
  async t => {
    const { ended, output } = start(t, {}, [...dev, '--nonsense'])
    assert.equal(await ended, 64)
    assert.match(output(), /--nonsense/)
    assertNothingIsLeft(output())
  },
)

test('dev is killed by force: PostgreSQL and its folder are gone soon after', guard, async t => {
  const { child, ended, said, output } = start(t, {}, [...dev, '--help'])
  await said(/PostgreSQL \d+ is up/)
  child.kill('SIGKILL')
  await ended
  const [, folder = ''] = /is up in (\S+):/.exec(output()) ?? []
  // Whoever deletes it is no child of anybody here, so there is no event to wait for.
  while (existsSync(folder)) await setTimeout(50)
  assertNothingIsLeft(output())
})

test('npm run dev survives a Ctrl-C that reaches it by the terminal and again by npm', guard, async t => {
  const npm = process.env['npm_execpath']
  if (npm === undefined) return t.skip('npm did not run this test')
  const { child, said, output } = start(t, {}, [npm, 'run', 'dev'])
  await said(listening)
  process.kill(-(child.pid ?? 0), 'SIGINT')
  await once(child, 'close')
  assert.match(output(), /"event":"stopped"/)
  assertNothingIsLeft(output())
})

test('dev runs as an unprivileged user as well as root', guard, async t => {
  if (process.getuid?.() !== 0) return t.skip('this is an ordinary user already')
  const nobody = { uid: 65_534, gid: 65_534, cwd: root, encoding: 'utf8' } as const
  const trial = spawnSync(process.execPath, ['--import', 'tsx', 'server.ts', '--version'], nobody)
  if (trial.status !== 0) return t.skip(`nobody may not read this folder, or not run this Node.js`)
  const drop =
    'if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534) }'
  const { child, ended, said, output } = start(t, {}, ['--import', `data:text/javascript,${drop}`, ...dev])
  assert.equal((await ask(await said(listening))).body, healthy)
  child.kill('SIGINT')
  assert.equal(await ended, 0)
  assertNothingIsLeft(output())
})
