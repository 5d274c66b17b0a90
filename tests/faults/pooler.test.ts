// PgBouncer in transaction mode between us and PostgreSQL: many probes, and each of its ways to have no connection.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import pg from 'pg'
import { administer } from '../support/administer.ts'
import { type Judged, startJudged } from '../support/judge.ts'
import { accountToRunAs, openPostgres, type Postgres } from '../support/postgres.ts'
import type { Answer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

/** Runs PgBouncer before `postgres`, with one connection to it. */
function createPooler(program: string, postgres: Postgres, port: number) {
  const file = join(postgres.folder, 'pgbouncer.ini')
  const text = `[databases]
ledger = host=127.0.0.1 port=${postgres.port} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
query_wait_timeout = 0.3
server_login_retry = 0.1
max_client_conn = 3
`
  let child: ChildProcess | undefined
  return { url: `postgres://watcher:geheim@127.0.0.1:${port}/ledger`, start, stop }

  async function start() {
    writeFileSync(file, text)
    // It refuses to be root, as PostgreSQL does.
    const account = accountToRunAs()
    if (account) chownSync(file, account.uid, account.gid)
    child = spawn(program, [file], { ...account, stdio: ['ignore', 'ignore', 'pipe'] })
    let log = ''
    child.stderr?.setEncoding('utf8')
    for await (const chunk of child.stderr?.iterator({ destroyOnReturn: false }) ?? []) {
      log += chunk
      if (log.includes('process up')) break
    }
    assert.match(log, /process up/)
    child.stderr?.resume()
  }

  async function stop() {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  await new Promise(resolve => listener.close(resolve))
  return port
}

describe('PgBouncer in transaction mode', () => {
  let postgres: Postgres
  let pooler: ReturnType<typeof createPooler>
  let judged: Judged
  after(async () => {
    await judged?.close()
    await pooler?.stop()
    await postgres?.close()
  })

  /** The same for all tests; false, and the test skipped, where there is no PgBouncer. */
  async function isHere(t: TestContext): Promise<boolean> {
    const program = findTool(t, 'pgbouncer')
    if (program === undefined) return false
    if (judged) return true
    postgres = await openPostgres()
    pooler = createPooler(program, postgres, await freePort())
    await pooler.start()
    judged = await startJudged({ DATABASE_URL: pooler.url })
    return true
  }

  test('many probes on its one connection: healthy, and no prepared statement left', async t => {
    if (!(await isHere(t))) return
    await judged.judge({
      says: 'healthy',
      begin() {},
      async during({ ask }) {
        const answers: Answer[] = []
        for (let round = 0; round < 20; round += 1) {
          answers.push(...(await Promise.all(Array.from({ length: 10 }, ask))))
        }
        return answers
      },
      end() {},
    })
    const [row] = await administer(pooler.url, 'select count(*)::int as count from pg_prepared_statements')
    assert.equal(row?.['count'], 0)
  })

  test('the PostgreSQL behind it is down: pool_exhausted or connection_lost', async t => {
    if (!(await isHere(t))) return
    await judged.judge({
      // It waits for its PostgreSQL, then says that it waited, or that it failed.
      says: ['pool_exhausted', 'connection_lost'],
      begin: () => postgres.stop(),
      async end() {
        await postgres.start()
        // PgBouncer tries again by its own pace: the fault is gone when it has, for anybody.
        for (let served = false; !served; ) {
          served = await administer(pooler.url, 'select 1').then(
            () => true,
            () => false,
          )
        }
      },
    })
  })

  test('its one connection is held by somebody else: pool_exhausted', async t => {
    if (!(await isHere(t))) return
    const worker = new pg.Client(pooler.url)
    await judged.judge({
      says: 'pool_exhausted',
      async begin() {
        await worker.connect()
        await worker.query('begin')
      },
      end: () => worker.end(),
    })
  })

  test('it has no room for us itself: pool_exhausted', async t => {
    if (!(await isHere(t))) return
    const crowd = Array.from({ length: 3 }, () => new pg.Client(pooler.url))
    await judged.judge({
      says: 'pool_exhausted',
      async begin() {
        // Started anew, it has forgotten us, and the others are there first.
        await pooler.stop()
        await pooler.start()
        for (const client of crowd) await client.connect()
      },
      end: () => Promise.all(crowd.map(client => client.end())),
    })
  })

  test('it is gone: unreachable', async t => {
    if (!(await isHere(t))) return
    await judged.judge({ says: 'unreachable', begin: pooler.stop, end: pooler.start })
  })
})
