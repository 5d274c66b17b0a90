// A pooler that answers queries from its own cache: every healthy answer must still come from PostgreSQL.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import { freePort } from '../support/network.ts'
import { accountToRunAs, openPostgres, type Postgres } from '../support/postgres.ts'
import { ask, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

/** Starts pgpool-II in front of `postgres`, with its memory cache on. */
async function startPgpool(program: string, postgres: Postgres) {
  const port = await freePort()
  const folder = join(postgres.folder, 'pgpool')
  const files = {
    'pgpool.conf': `
listen_addresses = '127.0.0.1'
port = ${port}
socket_dir = '${folder}'
pcp_listen_addresses = ''
pcp_port = ${await freePort()}
pcp_socket_dir = '${folder}'
pid_file_name = '${folder}/pgpool.pid'
logdir = '${folder}'
backend_clustering_mode = 'raw'
backend_hostname0 = '127.0.0.1'
backend_port0 = ${postgres.port}
failover_on_backend_error = off
num_init_children = 4
memory_cache_enabled = on
memqcache_total_size = 4MB
memqcache_max_num_cache = 1000
memqcache_oiddir = '${folder}/oid'
`,
    'pcp.conf': '',
  }
  const account = accountToRunAs()
  for (const path of [folder, join(folder, 'oid')]) {
    mkdirSync(path)
    if (account) chownSync(path, account.uid, account.gid)
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  const args = ['-n', '-f', join(folder, 'pgpool.conf'), '-F', join(folder, 'pcp.conf')]
  const child = spawn(program, args, { ...account, stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.setEncoding('utf8')
  for await (const chunk of child.stderr.iterator({ destroyOnReturn: false })) {
    log += chunk
    if (log.includes('successfully started')) break
  }
  assert.match(log, /successfully started/)
  child.stderr.resume()
  return { port, stop: () => stop(child) }
}

/** SIGINT is pgpool's fast shutdown: it ends its children, too. */
async function stop(child: ChildProcess) {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGINT')
  await once(child, 'exit')
}

test('behind the cache of pgpool-II, /health reports a frozen PostgreSQL as unhealthy', async t => {
  const program = findTool(t, 'pgpool')
  if (program === undefined) return
  const postgres = await openPostgres({ settings: { max_connections: '20' } })
  const { port, stop } = await startPgpool(program, postgres)
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const server = await startServer({ DATABASE_URL: `${url}?sslmode=disable`, HEALTH_TIMEOUT_MS: '1000' })
  const client = new pg.Client({ connectionString: url, query_timeout: 10_000 })
  try {
    const health = async () => (await ask(`${server.origin}/health`)).status
    assert.equal(await health(), 200)
    await client.connect()
    await client.query('SELECT 1')
    // pgpool-II 4.3 answers first, then asks PostgreSQL what it needs to store the result. This waits for that.
    const cache = await client.query('SHOW POOL_CACHE')
    assert.notEqual(cache.rows[0].num_cache_entries, '0')
    postgres.freeze()
    const { rows } = await client.query('SELECT 1')
    assert.equal(rows.length, 1, 'pgpool answers others from its cache')
    for (let request = 0; request < 3; request += 1) assert.equal(await health(), 503)
    postgres.thaw()
    assert.equal(await health(), 200)
  } finally {
    postgres.thaw()
    await client.end()
    await server.stop()
    await stop()
    await postgres.close()
  }
})
