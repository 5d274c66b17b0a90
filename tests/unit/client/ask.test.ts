// Every way a server can answer the check command, and every way it can fail to.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { askServer, type Finding, type Target } from '../../../lib/client/ask.ts'

/** No test waits this long: every request here is answered, or fails, by itself. */
const patienceMs = 60_000

/** Asks a server, and leaves out how long that took. */
async function find(url: URL, timeoutMs = patienceMs, host?: string) {
  const target: Target = { url, ...(host === undefined ? {} : { host }) }
  const now = () => performance.now()
  const loadModule = process.getBuiltinModule
  const { elapsedMs, ...found } = await askServer({ target, timeoutMs, now, loadModule })
  assert.ok(elapsedMs > 0 && elapsedMs < patienceMs, `${elapsedMs} ms`)
  return found
}

const healthyLine = '✓ API is healthy'
const failed = (why: string) => `✗ Health check failed: ${why}`
const strange = (status: number) => failed(`HTTP ${status}, not the answer of a health endpoint`)

const answers: [name: string, status: number, body: string, state: Finding['state'], line: string][] = [
  ['a healthy server', 200, '{"status": "healthy","database": "connected"}', 'healthy', healthyLine],
  [
    'an unhealthy one',
    503,
    '{"status": "unhealthy","error": "database unreachable"}',
    'unhealthy',
    '✗ API unhealthy: database unreachable',
  ],
  [
    'an unhealthy one that answers 200',
    200,
    '{"status": "unhealthy","error": "health check timed out"}',
    'unhealthy',
    '✗ API unhealthy: health check timed out',
  ],
  [
    'one with an error that would control a terminal',
    503,
    '{"status":"unhealthy","error":"\\u001b[2J\\u0007a\\r\\nb\\u009bc\\u202ed"}',
    'unhealthy',
    '✗ API unhealthy:  [2J a b c d',
  ],
  [
    'one with a very long error',
    503,
    `{"status":"unhealthy","error":"${'x'.repeat(1_000)}"}`,
    'unhealthy',
    `✗ API unhealthy: ${'x'.repeat(200)}`,
  ],
  ['one without an error', 503, '{"status":"unhealthy"}', 'unhealthy', '✗ API unhealthy: no reason given'],
  [
    'one with an error that is not a text',
    503,
    '{"status":"unhealthy","error":{"a":1}}',
    'unhealthy',
    '✗ API unhealthy: no reason given',
  ],
  ['one that says healthy with 503', 503, '{"status": "healthy"}', 'failed', strange(503)],
  ['one that says healthy with 201', 201, '{"status": "healthy"}', 'strange', strange(201)],
  ['one that has no such path', 404, '{"error": "not found"}', 'strange', strange(404)],
  ['one that redirects', 302, '', 'strange', strange(302)],
  ['another kind of JSON', 200, '["healthy"]', 'strange', strange(200)],
  ['null', 200, 'null', 'strange', strange(200)],
  ['a page', 200, '<html>"status": "healthy"</html>', 'strange', strange(200)],
  ['nothing', 200, '', 'strange', strange(200)],
]

for (const [name, status, body, state, line] of answers) {
  test(`askServer() asks ${name}: ${line}`, async t => {
    const url = await serve(t, (_, response) => response.writeHead(status).end(body))
    assert.deepEqual(await find(url), { state, line })
  })
}

test('askServer() sends GET for the path it is given, and keeps no connection', async t => {
  const seen: unknown[] = []
  const url = await serve(t, ({ method, url, headers }, response) => {
    seen.push([method, url, headers.connection])
    response.end()
  })
  await find(new URL('/readyz?x', url))
  assert.deepEqual(seen, [['GET', '/readyz?x', 'close']])
})

const silences: Record<string, (response: ServerResponse) => void> = {
  'before the head': () => {},
  'after the head': response => response.writeHead(200).flushHeaders(),
  'during the body': response => response.writeHead(200).write('{"status": '),
  'while it trickles': trickle,
}
for (const [when, answer] of Object.entries(silences)) {
  test(`askServer() gives up on a server that falls silent ${when}`, async t => {
    const url = await serve(t, (_, response) => answer(response))
    assert.deepEqual(await find(url, 50), { state: 'failed', line: failed('no answer within 50 ms') })
  })
}

test('askServer() stops reading a response that does not end', async t => {
  const url = await serve(t, (_, response) => flood(response.writeHead(200)))
  const line = failed('the answer does not end')
  assert.deepEqual(await find(url), { state: 'failed', line })
})

test('askServer() fails when the server closes during its response', async t => {
  const url = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': 45 }).write('{"status": "healthy"', () => response.destroy())
  })
  assert.deepEqual(await find(url), {
    state: 'failed',
    line: failed('the connection broke off'),
  })
})

test('askServer() names the refused port', async t => {
  const { port } = await serve(t, () => {}, true)
  const line = failed(`connect ECONNREFUSED 127.0.0.1:${port}`)
  assert.deepEqual(await find(new URL(`http://127.0.0.1:${port}/`)), {
    state: 'failed',
    line,
  })
})

test('askServer() fails with a line of text when the peer does not speak HTTP', async t => {
  for (const bytes of [
    'hello, this is not HTTP\r\n',
    '\x15\x03\x01\x00\x02\x02\x28',
    'HTTP/1.1 9999 \x1b[2J\r\n\r\n',
  ]) {
    const server = net.createServer(socket => socket.on('error', () => {}).end(bytes))
    t.after(() => server.close())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const url = new URL(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}/health`)
    const { state, line } = await find(url)
    assert.equal(state, 'failed')
    assert.match(line, /^✗ Health check failed: [\x20-\x7e]{3,200}$/)
  }
})

test('askServer() fails when the URL is https and the server speaks HTTP', async t => {
  const { port } = await serve(t, (_, response) => response.end())
  const { state, line } = await find(new URL(`https://127.0.0.1:${port}/health`))
  assert.equal(state, 'failed')
  assert.match(line, /^✗ Health check failed: [\x20-\x7e]*EPROTO[\x20-\x7e]*$/)
})

/** Starts a server. `gone`: it has just closed, so that its port refuses connections. */
async function serve(t: TestContext, answer: RequestListener, gone = false): Promise<URL> {
  const server = createServer(answer)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = new URL(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}/health`)
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  if (gone) close()
  else t.after(close)
  return url
}

/** Writes for as long as the client reads. */
function flood(response: ServerResponse) {
  response.write(' '.repeat(16_384), error => error ?? flood(response))
}

/** Writes a byte every few milliseconds until the client is gone. */
function trickle(response: ServerResponse) {
  const timer = setInterval(() => response.write(' '), 5)
  response.on('close', () => clearInterval(timer))
}

test('askServer() fails when the server switches protocols', async t => {
  const peer = net.createServer(socket => {
    socket
      .on('error', () => {})
      .once('data', () =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
      )
    t.after(() => socket.destroy())
  })
  await once(peer.listen(0, '127.0.0.1'), 'listening')
  t.after(() => peer.close())
  const { port } = peer.address() as AddressInfo
  const line = failed('the server switches protocols')
  assert.deepEqual(await find(new URL(`http://127.0.0.1:${port}/`)), {
    state: 'failed',
    line,
  })
})

test('askServer() reports alive for /livez', async t => {
  const url = await serve(t, (_, response) => response.end('{"status": "alive"}'))
  assert.deepEqual(await find(url), { state: 'healthy', line: '✓ API is alive' })
})

test('askServer() connects to `host` instead of the host of the URL', async t => {
  const url = await serve(t, (_, response) => response.end('{"status": "healthy"}'))
  const elsewhere = new URL(`http://[fe80::1]:${url.port}/health`)
  assert.equal((await find(elsewhere, patienceMs, '127.0.0.1')).line, healthyLine)
})
