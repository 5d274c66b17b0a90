// HAProxy in front of a pair of PostgreSQL servers, with a real promotion: who gets writes before, during and after it.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import pg from 'pg'
import { administer } from '../support/administer.ts'
import type { Child } from '../support/child.ts'
import { openFolder, recipe, startProgram } from '../support/consumers.ts'
import { openPair } from '../support/pair.ts'
import { accountToRunAs, findPort, type Postgres } from '../support/postgres.ts'
import { startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

const config = readFileSync(recipe('haproxy/postgres.cfg'), 'utf8')

/** A pair, a pg-health beside each, and HAProxy in front of both with this configuration. */
async function open(t: TestContext, haproxy: string, text: string) {
  const pair = await openPair()
  t.after(() => pair.close())
  await administer(pair.primary.url, 'create table ledger (entry int)')
  const folder = openFolder(t)
  const file = join(folder, 'postgres.cfg')
  writeFileSync(file, text)
  const [writers, readers] = [await findPort(), await findPort()]
  const program = startProgram(t, haproxy, ['-f', file], {
    STATS_SOCKET: join(folder, 'stats'),
    LISTEN_PRIMARY: `127.0.0.1:${writers}`,
    LISTEN_REPLICAS: `127.0.0.1:${readers}`,
    POSTGRES_A: `127.0.0.1:${pair.primary.port}`,
    POSTGRES_B: `127.0.0.1:${pair.standby.port}`,
    PG_HEALTH_A: await startBeside(t, pair.primary),
    PG_HEALTH_B: await startBeside(t, pair.standby),
  })
  await program.said(/Server primary\/b is DOWN/)
  await program.said(/Server replicas\/a is DOWN/)
  const urlOf = (port: number) => `postgres://postgres@127.0.0.1:${port}/postgres`
  return { ...pair, program, writers: urlOf(writers), readers: urlOf(readers) }
}

/** Resolves with the port of a pg-health beside a server, set up as the document says. */
async function startBeside(t: TestContext, { url }: Postgres): Promise<string> {
  const server = await startServer({ DATABASE_URL: url, DRAIN_MS: '0' })
  t.after(() => server.stop('SIGKILL'))
  return new URL(server.origin).port
}

/** As an operator does it. */
async function promoteByHand({ folder }: Postgres) {
  const data = join(folder, 'data')
  await promisify(execFile)(join(folder, 'bin', 'pg_ctl'), ['-D', data, 'promote'], { ...accountToRunAs() })
}

/** The port of the server that a new connection reaches; undefined if none does. */
async function serverBehind(url: string): Promise<number | undefined> {
  try {
    const [row] = await administer(url, 'select inet_server_port() as port')
    return Number(row?.['port'])
  } catch {
    return undefined
  }
}

/** Kills the primary and promotes the standby. Resolves when HAProxy has seen both. */
async function failOver(primary: Postgres, standby: Postgres, program: Child) {
  const from = program.output().length
  await primary.kill()
  await program.said(/Server primary\/a is DOWN.*/, from)
  await promoteByHand(standby)
  await program.said(/Server primary\/b is UP/, from)
}

/** Kills the primary, promotes the standby, starts the old primary as it was, and counts where 12 new connections go. */
async function connectionsWithTwoPrimaries(t: TestContext, haproxy: string, text: string) {
  const { primary, standby, program, writers } = await open(t, haproxy, text)
  assert.equal(await serverBehind(writers), primary.port)
  await failOver(primary, standby, program)
  assert.equal(await serverBehind(writers), standby.port)
  const from = program.output().length
  await primary.start()
  await program.said(/Server primary\/a is UP/, from)
  let stale = 0
  for (let connection = 0; connection < 12; connection += 1) {
    if ((await serverBehind(writers)) === primary.port) stale += 1
  }
  return { stale, current: 12 - stale }
}

test('HAProxy sends writers to the primary and readers to the standby, and follows a promotion', async t => {
  const haproxy = findTool(t, 'haproxy')
  if (haproxy === undefined) return
  const { primary, standby, program, writers, readers } = await open(t, haproxy, config)
  assert.equal(await serverBehind(writers), primary.port)
  assert.equal(await serverBehind(readers), standby.port)

  const writer = new pg.Client(writers)
  await writer.connect()
  const cut = new Promise<Error>(resolve => writer.once('error', resolve))
  await writer.query('insert into ledger values (1)')
  const from = program.output().length
  // The machine hangs: nobody but the balancer can cut this connection.
  primary.freeze()
  await program.said(/Server primary\/a is DOWN.*/, from)
  await cut
  assert.equal(await serverBehind(writers), undefined)
  assert.equal(await serverBehind(readers), standby.port)

  const promotedAt = performance.now()
  const up = program.said(/Server primary\/b is UP/, from).then(() => performance.now() - promotedAt)
  await promoteByHand(standby)
  let written = false
  while (!written) written = await insert(writers)
  const firstWriteMs = performance.now() - promotedAt
  t.diagnostic(
    `after the promotion began: up ${Math.round(await up)} ms, first write ${Math.round(firstWriteMs)} ms`,
  )
  assert.equal(await serverBehind(writers), standby.port)
  await program.said(/Server replicas\/b is DOWN.*/, from)
})

test('with two primaries, HAProxy stays with the one in use, as its table has spare entries', async t => {
  const haproxy = findTool(t, 'haproxy')
  if (haproxy === undefined) return
  assert.deepEqual(await connectionsWithTwoPrimaries(t, haproxy, config), { stale: 0, current: 12 })
})

test('with two primaries and one entry, which often is recommended, HAProxy 2.6 goes back to the old one', async t => {
  const haproxy = findTool(t, 'haproxy')
  if (haproxy === undefined) return
  const text = config.replace('type ip size 10', 'type ip size 1 nopurge')
  assert.notEqual(text, config)
  assert.deepEqual(await connectionsWithTwoPrimaries(t, haproxy, text), { stale: 12, current: 0 })
})

test('with two primaries and no stick table, HAProxy splits the writes between them', async t => {
  const haproxy = findTool(t, 'haproxy')
  if (haproxy === undefined) return
  const text = config.replace(/^ *stick.*\n/gm, '')
  assert.notEqual(text, config)
  assert.deepEqual(await connectionsWithTwoPrimaries(t, haproxy, text), { stale: 6, current: 6 })
})

/** Whether a new connection could write. */
async function insert(url: string): Promise<boolean> {
  try {
    await administer(url, 'insert into ledger values (2)')
    return true
  } catch {
    return false
  }
}
