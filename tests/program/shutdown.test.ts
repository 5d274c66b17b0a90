// Shutdown of the program under load and with a broken database: real processes, real signals.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, type TestContext, test } from 'node:test'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { ask, type Running, runServer, startServer } from '../support/server.ts'

const stopping = '{"status": "unhealthy","error": "server is shutting down"}'

let postgres: Postgres
before(async () => {
  postgres = await openPostgres({ settings: { log_disconnections: 'on', log_min_messages: 'debug1' } })
})
after(() => postgres.close())

async function start(t: TestContext, settings: Record<string, string> = {}): Promise<Running> {
  const server = await startServer({ DATABASE_URL: postgres.url, ...settings })
  t.after(() => server.stop('SIGKILL'))
  await server.event('healthy')
  return server
}

/** Asks on new connections until one is refused. Gives the responses in order. */
async function askUntilRefused(server: Running): Promise<string[]> {
  const told: string[] = []
  for (;;) {
    try {
      const { status, body, headers } = await ask(`${server.origin}/health`)
      told.push(status === 200 ? 'healthy' : body === stopping ? `stopping, ${headers.connection}` : body)
    } catch (error) {
      told.push(String((error as NodeJS.ErrnoException).code))
      return told
    }
  }
}

function runs(list: readonly string[]): string[] {
  return list.filter((item, index) => item !== list[index - 1])
}

test('SIGTERM under load: 503 while draining, then refused, exit 0; PostgreSQL sees a clean disconnect', async t => {
  const server = await start(t, { DRAIN_MS: '700' })
  const from = postgres.log().length
  const clients = Array.from({ length: 20 }, () => askUntilRefused(server))
  await ask(`${server.origin}/health`)
  const signalledAt = performance.now()
  const ended = server.stop('SIGTERM')
  await server.event('stopping')
  const alive = await ask(`${server.origin}/livez`)
  assert.equal(alive.body, '{"status": "alive"}')
  assert.equal(alive.headers.connection, 'close')
  for (const told of await Promise.all(clients)) {
    // The last connection may reach the kernel's queue as the port closes, and is then reset.
    const last = told.pop() ?? ''
    assert.match(last, /^(ECONNREFUSED|ECONNRESET)$/)
    assert.deepEqual(runs(told), ['healthy', 'stopping, close'])
  }
  assert.ok(performance.now() - signalledAt >= 700, 'no client was refused before the drain ended')
  assert.equal(await ended, 0)
  assert.match(postgres.log().slice(from), /disconnection: session time/)
  assert.doesNotMatch(postgres.log().slice(from), /unexpected EOF/)
  assert.deepEqual(
    server.events().map(({ event }) => event),
    ['start', 'listening', 'healthy', 'stopping', 'stopped'],
  )
})

test('requests that wait for a check at the signal are answered immediately, without a query', async t => {
  const server = await start(t, { DRAIN_MS: '60000', HEALTH_TIMEOUT_MS: '60000' })
  t.after(() => postgres.thaw())
  postgres.freeze()
  const waiting = [ask(`${server.origin}/health`), ask(`${server.origin}/health`)]
  // Both have arrived when a later one on /livez is answered.
  await ask(`${server.origin}/livez`)
  server.child.kill('SIGTERM')
  for (const { status, body, headers } of await Promise.all(waiting)) {
    assert.equal(status, 503)
    assert.equal(body, stopping)
    assert.equal(headers.connection, 'close')
  }
  postgres.thaw()
})

test('a second signal exits immediately, with 128 and its number', async t => {
  const server = await start(t, { DRAIN_MS: '60000' })
  server.child.kill('SIGTERM')
  await server.event('stopping')
  assert.equal(await server.stop('SIGTERM'), 143)
})

test('a half-sent request, a silent client and an idle one do not delay the exit', async t => {
  const server = await start(t)
  const port = Number(new URL(server.origin).port)
  const sockets = ['GET /health HT', '', 'GET /livez HTTP/1.1\r\nhost: x\r\n\r\n'].map(text => {
    const socket = net.connect(port, '127.0.0.1').on('error', () => {})
    socket.write(text)
    return socket
  })
  t.after(() => sockets.map(socket => socket.destroy()))
  await once(sockets[2] as net.Socket, 'data')
  assert.equal(await server.stop('SIGTERM'), 0)
})

test('a frozen database does not delay the exit, and checks cut short are not logged as its failures', async t => {
  const server = await start(t, { HEALTH_TIMEOUT_MS: '60000' })
  t.after(() => postgres.thaw())
  postgres.freeze()
  const waiting = ask(`${server.origin}/health`)
  await ask(`${server.origin}/livez`)
  assert.equal(await server.stop('SIGTERM'), 0)
  assert.equal((await waiting).body, stopping)
  postgres.thaw()
  const events = server.events().map(({ event }) => event)
  assert.deepEqual(events.slice(events.indexOf('stopping')), ['stopping', 'stopped'])
})

test('a stop while the database is down exits 0', async t => {
  const server = await startServer({ DATABASE_URL: 'postgres://x@127.0.0.1:1/x' })
  t.after(() => server.stop('SIGKILL'))
  await server.event('unhealthy')
  assert.equal(await server.stop('SIGTERM'), 0)
})

test('a port that is taken: one log line that names it, exit 1', async t => {
  const server = await start(t)
  const { port } = new URL(server.origin)
  const settings = { DATABASE_URL: postgres.url, HOST: '127.0.0.1', PORT: port }
  const { code, stdout } = await runServer([], settings)
  assert.equal(code, 1)
  const [first = '', failure = '', ...more] = stdout.trim().split('\n')
  assert.equal(JSON.parse(first).event, 'start')
  const { event, message } = JSON.parse(failure)
  assert.deepEqual([event, message, more], ['listen_failed', `can't listen on port ${port}: EADDRINUSE`, []])
})
