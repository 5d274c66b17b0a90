// keepalived in a network of its own: it holds the address while PostgreSQL takes writes, and gives it up otherwise.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openFolder, recipe, startProgram } from '../support/consumers.ts'
import { openPostgres } from '../support/postgres.ts'
import { program, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

/** Two ends of a cable, of which keepalived uses one. */
const setUp =
  'ip link set lo up && ip link add eth0 type veth peer name eth1 && ip addr add 10.0.0.1/24 dev eth0 && ' +
  'ip link set eth0 up && ip link set eth1 up && exec "$@"'
const inNetwork = ['unshare', '-n', 'sh', '-c', setUp, 'network']

test('keepalived holds the address while PostgreSQL takes writes', async t => {
  const keepalived = findTool(t, 'keepalived')
  if (keepalived === undefined || !findTool(t, 'curl') || !canMakeNetworks(t)) return
  const postgres = await openPostgres()
  t.after(() => postgres.close())
  const url = `postgres://postgres@/postgres?host=${postgres.socketDirectory}&port=${postgres.port}`
  const server = await startServer({ DATABASE_URL: url, PORT: '8000' }, program, { through: inNetwork })
  t.after(() => server.stop('SIGKILL'))
  const inside = ['-t', `${server.child.pid}`, '-n']
  const folder = openFolder(t)
  const file = join(folder, 'keepalived.conf')
  writeFileSync(file, readFileSync(recipe('keepalived/keepalived.conf')), { mode: 0o644 })
  const pids = ['-p', 'main', '-r', 'vrrp'].map(part => (part.startsWith('-') ? part : join(folder, part)))
  startProgram(t, 'nsenter', [...inside, keepalived, '-n', '-l', '-D', '-P', '-f', file, ...pids])
  const holds = () =>
    spawnSync('nsenter', [...inside, 'ip', '-br', 'addr', 'show', 'eth0'], {
      encoding: 'utf8',
    }).stdout.includes('10.0.0.10/24')
  const until = async (wanted: boolean) => {
    const patience = AbortSignal.timeout(60_000)
    while (holds() !== wanted) await pause(50, undefined, { signal: patience })
  }

  await until(true)
  await postgres.configure({ settings: { default_transaction_read_only: 'on' } })
  await until(false)
  await postgres.configure({ settings: { default_transaction_read_only: 'off' } })
  await until(true)
  await postgres.kill()
  await until(false)
  await postgres.start()
  await until(true)
  assert.ok(holds())
})

/** Whether this user may make networks; a test that can't is skipped. */
function canMakeNetworks(t: TestContext): boolean {
  const [command = '', ...args] = [...inNetwork, 'true']
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) t.skip(`no network of its own: ${stderr?.trim()}`)
  return status === 0
}
