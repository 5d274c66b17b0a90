// The whole program with a real PostgreSQL, found by the files of libpq: password file, service file, socket directory.
import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { administer, terminate } from '../support/administer.ts'
import { accountToRunAs, openPostgres, type Postgres } from '../support/postgres.ts'
import { ask, type Running, startServer } from '../support/server.ts'

const healthy = '{"status": "healthy","database": "connected"}'
const refused = '{"status": "unhealthy","error": "database authentication failed"}'
const hba = `host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
local all all scram-sha-256
`
/** What a password file must escape. */
const password = 's:e\\cret'
const escaped = 's\\:e\\\\cret'

let postgres: Postgres
let home: string
before(async () => {
  home = mkdtempSync(join(tmpdir(), 'pg-health-home-'))
  postgres = await openPostgres({ files: { 'pg_hba.conf': hba } })
  const role = `create role app login password '${password}'`
  await administer(postgres.url, role, 'create database shop owner app')
})
after(async () => {
  await postgres.close()
  rmSync(home, { recursive: true })
})

/** Starts the program with these settings, and with `files` in its home, which only it may read. */
async function start(
  t: TestContext,
  settings: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>> = {},
): Promise<Running> {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(home, name), text, { mode: 0o600 })
  const server = await startServer({ HOME: home, ...settings })
  t.after(async () => {
    await server.stop('SIGKILL')
    for (const name of Object.keys(files)) rmSync(join(home, name))
  })
  return server
}

const health = async (server: Running) => (await ask(`${server.origin}/health`)).body

test('logs in with the password of ~/.pgpass, and without it when others may read the file', async t => {
  const DATABASE_URL = `postgres://app@127.0.0.1:${postgres.port}/shop`
  const files = { '.pgpass': `other:*:*:*:wrong\n127.0.0.1:*:shop:app:${escaped}\n` }
  assert.equal(await health(await start(t, { DATABASE_URL }, files)), healthy)
  chmodSync(join(home, '.pgpass'), 0o644)
  const open = await startServer({ HOME: home, DATABASE_URL })
  t.after(() => open.stop('SIGKILL'))
  assert.equal(await health(open), refused)
  assert.match(open.output(), /~\/\.pgpass \(others may read it: chmod 600\)/)
})

test('connects to a service of ~/.pg_service.conf', async t => {
  const section = `[shop]\nhost=127.0.0.1\nport=${postgres.port}\ndbname=shop\nuser=app\npassword=${password}\n`
  const files = { '.pg_service.conf': `[other]\nhost=192.0.2.1\n${section}` }
  assert.equal(await health(await start(t, { PGSERVICE: 'shop' }, files)), healthy)
})

test('connects to a socket directory with a colon in its path', async t => {
  const directory = join(postgres.folder, 'project:region:db')
  mkdirSync(directory)
  const account = accountToRunAs()
  if (account) chownSync(directory, account.uid, account.gid)
  await postgres.stop()
  await postgres.configure({ settings: { unix_socket_directories: directory } })
  await postgres.start()
  const pw = encodeURIComponent(password)
  for (const DATABASE_URL of [
    `postgres://app:${pw}@localhost:${postgres.port}/shop?host=${directory}`,
    `postgres://app:${pw}@${encodeURIComponent(directory)}:${postgres.port}/shop`,
    `Host=${directory};Port=${postgres.port};Username=app;Password=${password};Database=shop`,
  ]) {
    assert.equal(await health(await start(t, { DATABASE_URL })), healthy)
  }
})

test('stays healthy while its password file is empty, and says so once', async t => {
  const file = join(home, 'password')
  const settings = { PGHOST: '127.0.0.1', PGPORT: `${postgres.port}`, PGUSER: 'app', PGDATABASE: 'shop' }
  const server = await start(t, { ...settings, PGPASSWORD_FILE: file }, { password: `${password}\n` })
  assert.equal(await health(server), healthy)
  writeFileSync(file, '')
  for (const _ of [1, 2]) {
    await terminate(postgres.url)
    assert.equal(await health(server), healthy)
  }
  const stale = server.events().filter(({ event }) => event === 'stale_secret')
  assert.equal(stale.length, 1)
  assert.ok(!server.output().includes(password))
})
