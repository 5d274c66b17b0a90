// The paths for a load balancer in front of PostgreSQL, through the whole program: status, body, and what they leave alone.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Role } from '../../lib/health/verdict.ts'
import { honest, openPeer, row, type Scenario } from '../support/peer.ts'
import { ask, startServer } from '../support/server.ts'

const yes = '200 {"status": "healthy","database": "connected"}'
const no = (sentence: string) => `503 {"status": "unhealthy","error": "${sentence}"}`

/** A server with a role; of a standby, with so much WAL not replayed. */
function serverOf(role: () => Role, lag = '0'): Scenario {
  return {
    ...honest,
    statement(_, sent) {
      if (sent.includes('pg_is_in_recovery')) return row(role())
      return row(sent.includes('pg_stat_wal_receiver') ? lag : '1')
    },
  }
}

async function start(t: TestContext, scenario: Scenario, settings: Readonly<Record<string, string>> = {}) {
  const peer = await openPeer(scenario)
  t.after(() => peer.close())
  const server = await startServer({
    DATABASE_URL: `postgres://postgres@127.0.0.1:${peer.port}/postgres?sslmode=disable`,
    ...settings,
  })
  t.after(() => server.stop())
  const said = async (path: string, method = 'GET') => {
    const { status, body } = await ask(server.origin + path, { method })
    return `${status} ${body}`
  }
  return { peer, server, said }
}

test('/primary, /read-write and /replica answer by the role and the lag, whatever HEALTH_UNHEALTHY_STATUS', async t => {
  let role: Role = 'primary'
  const { said, server } = await start(
    t,
    serverOf(() => role, '5000'),
    { HEALTH_UNHEALTHY_STATUS: '200' },
  )
  assert.equal(await said('/primary'), yes)
  assert.equal(await said('/read-write/'), yes)
  assert.equal(await said('/replica'), no('database is a primary'))
  role = 'standby'
  assert.equal(await said('/primary'), no('database is a standby'))
  assert.equal(await said('/replica'), yes)
  assert.equal(await said('/replica?lag=5kB'), yes)
  assert.equal(await said('/replica?lag=4999'), no('standby lags behind'))
  role = 'read_only'
  assert.equal(await said('/read-write'), no('database is read-only'))
  assert.equal(await said('/replica?lag=1TB'), no('database is read-only'))
  assert.equal(await said('/health'), yes)
  // None of these was an outage.
  assert.deepEqual(
    server.events().filter(({ event }) => event === 'unhealthy'),
    [],
  )
  const { body } = await ask(`${server.origin}/metrics`)
  assert.match(body, /^pghealth_up 1$/m)
  assert.match(body, /^pghealth_http_requests_total\{path="\/primary",code="200"\} 1$/m)
  assert.match(body, /^pghealth_http_requests_total\{path="\/primary",code="503"\} 1$/m)
  assert.match(body, /^pghealth_consecutive_failures 0$/m)
  const { changes } = JSON.parse((await ask(`${server.origin}/history`)).body)
  assert.equal(changes.length, 1)
})

test('a change of the role is logged once, and again after a minute at the earliest', async t => {
  let role: Role = 'primary'
  const { said, server } = await start(
    t,
    serverOf(() => role),
  )
  await said('/primary')
  role = 'standby'
  await said('/primary')
  const lines = server.events().filter(({ event }) => event === 'role')
  assert.deepEqual(
    lines.map(({ message, role: found }) => [message, found]),
    [['database is a primary', 'primary']],
  )
})

test('a query that is not a lag in bytes is answered 400, and nothing of it is repeated', async t => {
  const { said } = await start(
    t,
    serverOf(() => 'standby'),
  )
  const refused =
    '400 {"error": "only /replica takes a query: lag in bytes, as in lag=1048576, lag=16MB or lag=1GB"}'
  for (const path of ['/replica?lag=16M', '/replica?max=1', '/primary?lag=1MB', '/read-write?x']) {
    assert.equal(await said(path), refused)
  }
  assert.equal(await said('/replica?lag=16M', 'HEAD'), '400 ')
  assert.equal(await said('/replica?lag=16M', 'POST'), '405 {"error": "method not allowed"}')
})

test('HEAD and OPTIONS on a role have the status of GET and no body', async t => {
  const { said, server } = await start(
    t,
    serverOf(() => 'standby'),
  )
  for (const method of ['HEAD', 'OPTIONS']) {
    assert.equal(await said('/primary', method), '503 ')
    assert.equal(await said('/replica?lag=0', method), '200 ')
    assert.equal(await said('/replica?lag=x', method), '400 ')
  }
  const { headers } = await ask(`${server.origin}/replica`, { method: 'OPTIONS' })
  assert.equal(headers.allow, 'GET, HEAD, OPTIONS')
  assert.equal(headers['content-length'], '0')
})

test('/health asks no more than SELECT 1, also after somebody has asked for the role', async t => {
  const queries: string[] = []
  const scenario = serverOf(() => 'standby')
  const { said } = await start(t, {
    ...scenario,
    statement(index, sent) {
      queries.push(sent.toString('latin1', 5, sent.length - 1))
      return scenario.statement(index, sent)
    },
  })
  await said('/replica?lag=1')
  queries.length = 0
  for (const path of ['/health', '/readyz']) await said(path)
  assert.deepEqual(queries, Array(2).fill('/*NO QUERY CACHE*/ SELECT 1'))
})

test('during the shutdown a role is a no, as health is', async t => {
  const { said, server } = await start(
    t,
    serverOf(() => 'primary'),
    { DRAIN_MS: '3000' },
  )
  assert.equal(await said('/primary'), yes)
  server.child.kill('SIGTERM')
  await server.event('stopping')
  assert.equal(await said('/primary'), no('server is shutting down'))
})

test('with target_session_attrs, /health says which role the server has instead', async t => {
  const peers = await Promise.all([openPeer(serverOf(() => 'standby')), openPeer(serverOf(() => 'standby'))])
  t.after(() => Promise.all(peers.map(peer => peer.close())))
  const [one, two] = peers.map(({ port }) => `127.0.0.1:${port}`)
  const server = await startServer({
    DATABASE_URL: `postgres://postgres@${one},${two}/postgres?sslmode=disable&target_session_attrs=read-write`,
  })
  t.after(() => server.stop())
  const { status, body } = await ask(`${server.origin}/health`)
  assert.equal(`${status} ${body}`, no('database is a standby'))
  peers[1]?.play(serverOf(() => 'primary'))
  assert.equal((await ask(`${server.origin}/health`)).status, 200)
  assert.equal((await ask(`${server.origin}/primary`)).status, 200)
})
