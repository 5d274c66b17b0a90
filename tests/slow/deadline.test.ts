// Deadlines of several seconds, waited for in full: those of Node's HTTP server, and that of `check`.
import assert from 'node:assert/strict'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import { openPostgres } from '../support/postgres.ts'
import { runServer, startServer } from '../support/server.ts'

async function start(t: TestContext, settings: Record<string, string>) {
  const server = await startServer(settings)
  t.after(() => server.stop('SIGKILL'))
  return { ...server, port: Number(new URL(server.origin).port) }
}

// The program's settings are 5 s, checked every second. Node's defaults are 60 s, checked every 30 s.
test('a request head that does not end gets 408, and so does a silent client', async t => {
  const { port } = await start(t, { DATABASE_URL: 'postgres://x@127.0.0.1:1/x' })
  const startedAt = performance.now()
  const heads = ['', 'GET /hea', 'GET /health HTTP/1.1\r\nHost: h\r\nX-Slow: ']
  const received = heads.map(async head => {
    const socket = net.connect(port, '127.0.0.1').setEncoding('latin1')
    socket.write(head)
    let text = ''
    for await (const chunk of socket) text += chunk
    return text
  })
  for (const text of await Promise.all(received)) {
    assert.match(text, /^HTTP\/1\.1 408 Request Timeout\r\nConnection: close\r\n/)
  }
  assert.ok(performance.now() - startedAt < 30_000, "Node's own settings are at work")
})

test("check waits longer than the server's own deadline, and reads the reason", async t => {
  const postgres = await openPostgres()
  t.after(() => postgres.close())
  const HEALTH_TIMEOUT_MS = '5500'
  const server = await start(t, { DATABASE_URL: postgres.url, HEALTH_TIMEOUT_MS })
  await server.event('healthy')
  postgres.freeze()
  const { stdout } = await runServer(['check'], { PORT: `${server.port}`, HEALTH_TIMEOUT_MS })
  assert.match(stdout, /^✗ API unhealthy: .*timed out\n$/)
})
