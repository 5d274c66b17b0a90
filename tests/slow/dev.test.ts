// `npm run dev` serves, and leaves nothing behind, however it ends.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { startChild } from '../support/child.ts'
import { childrenOf } from '../support/postgres.ts'
import { ask, root } from '../support/server.ts'

const dev = ['--import', 'tsx', 'dev.ts']
/** What a developer's shell may hold. None of it may reach the server. */
const elsewhere = { PGHOST: 'db.example', PGSSLMODE: 'require', DATABASE_URL: 'x', DATABASE_URL_FILE: '/x' }
const healthy = '{"status": "healthy","database": "connected"}'

/** For tests that might otherwise never end. */
const guard = { timeout: 60_000 }

/** Starts dev.ts, or what `command` says, in a new process group, as a shell would. */
function start(t: TestContext, settings: Record<string, string> = {}, command = dev) {
  const env = { ...process.env, ...elsewhere, HOST: '127.0.0.1', PORT: '0', DRAIN_MS: '0', ...settings }
  const child = startChild(process.execPath, command, { cwd: root, env, detached: true })
  t.after(async () => {
    child.process.kill('SIGTERM')
    await Promise.race([child.ended, setTimeout(10_000, undefined, { ref: false })])
    child.process.kill('SIGKILL')
  })
  return child
}

const listening = /http:\/\/[^"\s]+\/health/

/** Neither the process nor the folder that `output` names is left. */
function assertNothingIsLeft(output: string) {
  const [, pid, folder] = /PostgreSQL (\d+) is up in (\S+):/.exec(output) ?? assert.fail(output)
  assert.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' })
  assert.equal(existsSync(String(folder)), false)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`dev serves a healthy answer; ${signal} ends it with exit 0 and leaves nothing`, guard, async t => {
    const { process: child, ended, said, output } = start(t)
    const { status, body } = await ask(await said(listening))
    assert.deepEqual({ status, body }, { status: 200, body: healthy })
    child.kill(signal)
    assert.equal(await ended, 0)
    assertNothingIsLeft(output())
  })
}

test('dev passes a second signal on, and the server exits immediately', guard, async t => {
  const { process: child, ended, said, output } = start(t, { DRAIN_MS: '60000' })
  await said(listening)
  child.kill('SIGTERM')
  await said(/"event":"stopping"/)
  child.kill('SIGINT')
  assert.equal(await ended, 130)
  assertNothingIsLeft(output())
})

test('dev passes SIGQUIT on, ends with exit 131 and leaves nothing', guard, async t => {
  const { process: child, ended, said, output } = start(t)
  await said(listening)
  child.kill('SIGQUIT')
  assert.equal(await ended, 131)
  assertNothingIsLeft(output())
})

test('dev ends and leaves nothing even if somebody else has frozen its PostgreSQL', guard, async t => {
  const { process: child, ended, said, output } = start(t)
  await said(listening)
  const postmaster = Number(/PostgreSQL (\d+) is up/.exec(output())?.[1])
  for (const pid of [postmaster, ...childrenOf(postmaster)]) process.kill(pid, 'SIGSTOP')
  child.kill('SIGINT')
  assert.equal(await ended, 0)
  assertNothingIsLeft(output())
})

test('dev that is stopped while PostgreSQL starts never starts the server', guard, async t => {
  const { process: child, ended, said, output } = start(t)
  await said(/starting a throwaway PostgreSQL/)
  child.kill('SIGINT')
  assert.equal(await ended, 0)
  assert.doesNotMatch(output(), listening)
  assertNothingIsLeft(output())
})

test("dev passes its arguments to the server, and exits with the server's code", guard, async t => {
  const { ended, output } = start(t, {}, [...dev, '--nonsense'])
  assert.equal(await ended, 64)
  assert.match(output(), /--nonsense/)
  assertNothingIsLeft(output())
})

test('dev killed by SIGKILL: PostgreSQL and its folder are gone soon after', guard, async t => {
  const { process: child, ended, said, output } = start(t, {}, [...dev, '--help'])
  await said(/PostgreSQL \d+ is up/)
  child.kill('SIGKILL')
  await ended
  const [, folder = ''] = /is up in (\S+):/.exec(output()) ?? []
  // What deletes it is not a child of this process, so there is no event to wait for.
  while (existsSync(folder)) await setTimeout(50)
  assertNothingIsLeft(output())
})

test('npm run dev stops cleanly on a Ctrl-C that the terminal and npm both send', guard, async t => {
  const npm = process.env['npm_execpath']
  if (npm === undefined) return t.skip('npm did not run this test')
  const { process: child, ended, said, output } = start(t, {}, [npm, 'run', 'dev'])
  await said(listening)
  process.kill(-(child.pid ?? 0), 'SIGINT')
  await ended
  assert.match(output(), /"event":"stopped"/)
  assertNothingIsLeft(output())
})

test('dev runs as an unprivileged user', guard, async t => {
  if (process.getuid?.() !== 0) return t.skip('this is an ordinary user already')
  const nobody = { uid: 65_534, gid: 65_534, cwd: root, encoding: 'utf8' } as const
  const trial = spawnSync(process.execPath, ['--import', 'tsx', 'server.ts', '--version'], nobody)
  if (trial.status !== 0) return t.skip(`nobody may not read this folder, or not run this Node.js`)
  const drop =
    'if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534) }'
  const {
    process: child,
    ended,
    said,
    output,
  } = start(t, {}, ['--import', `data:text/javascript,${drop}`, ...dev])
  assert.equal((await ask(await said(listening))).body, healthy)
  child.kill('SIGINT')
  assert.equal(await ended, 0)
  assertNothingIsLeft(output())
})
