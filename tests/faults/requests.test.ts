// One odd request to the running program: its answer, the end of its connection, and a healthy answer to the next one.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { askHonestly, connectRaw, statusesOf } from '../support/bytes.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { type Running, startServer } from '../support/server.ts'

const timeoutMs = 2_000

let postgres: Postgres
let server: Running
let port: number
before(async () => {
  postgres = await openPostgres()
  const settings = { DATABASE_URL: postgres.url, HEALTH_TIMEOUT_MS: String(timeoutMs) }
  server = await startServer(settings)
  port = Number(new URL(server.origin).port)
})
after(async () => {
  assert.equal(server.child.exitCode, null, 'the server has ended')
  assert.doesNotMatch(server.output(), /unhandled_rejection|uncaught_exception|request_failed/)
  assert.equal(await server.stop(), 0)
  await postgres.close()
})

const connect = () => connectRaw(port)
const honestly = () => askHonestly(server.origin, timeoutMs)

const host = 'Host: h\r\n'
const honest = `GET /health HTTP/1.1\r\n${host}\r\n`
/** What is sent, and the statuses that come back before the server closes. */
const shapes: Record<string, [bytes: string, statuses: number[]]> = {
  'content-length beside chunked': [
    `POST /health HTTP/1.1\r\n${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${honest}`,
    [400],
  ],
  'two content-lengths': [
    `POST /health HTTP/1.1\r\n${host}Content-Length: 0\r\nContent-Length: 40\r\n\r\n${honest}`,
    [400],
  ],
  'two content-lengths in one': [
    `GET /health HTTP/1.1\r\n${host}Content-Length: 0, 40\r\n\r\n${honest}`,
    [400],
  ],
  'a negative content-length': [`GET /health HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n${honest}`, [400]],
  'a chunk whose size is no number': [
    `GET /health HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nzz\r\n${honest}`,
    [400],
  ],
  'a chunk that is longer than its size': [
    `GET /health HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n${honest}`,
    [400],
  ],
  'an unknown transfer-encoding': [
    `GET /health HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n${honest}`,
    [400],
  ],
  'a header that is folded': [`GET /health HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`, [400]],
  'a space before the colon': [`GET /health HTTP/1.1\r\n${host}Content-Length : 5\r\n\r\n`, [400]],
  'a NUL in a header': [`GET /health HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`, [400]],
  'a NUL in the target': [`GET /health\0 HTTP/1.1\r\n${host}\r\n`, [400]],
  'nothing but NULs': ['\0'.repeat(4_096), [400]],
  'a target of 40 kB': [`GET /${'a'.repeat(40_000)} HTTP/1.1\r\n${host}\r\n`, [431]],
  'a header of 40 kB': [`GET /health HTTP/1.1\r\n${host}X: ${'a'.repeat(40_000)}\r\n\r\n`, [431]],
  'twenty thousand headers': [`GET /health HTTP/1.1\r\n${host}${'X: a\r\n'.repeat(20_000)}\r\n`, [431]],
  CONNECT: [`CONNECT h:443 HTTP/1.1\r\n${host}\r\n${honest}`, []],
  'Upgrade to a websocket': [
    `GET /health HTTP/1.1\r\n${host}Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n`,
    [200],
  ],
  'Expect: 100-continue': [
    `POST /health HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 9\r\n\r\n`,
    [100, 405],
  ],
  'an unknown expectation': [
    `GET /health HTTP/1.1\r\n${host}Connection: close\r\nExpect: miracles\r\n\r\n`,
    [417],
  ],
  "HTTP/2's preface": ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
  'a TLS handshake': ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(300, 'x'), [400]],
  'HTTP/0.9, which had no headers': ['GET /health\r\n\r\n', [200]],
  'no Host': ['GET /health HTTP/1.1\r\nConnection: close\r\n\r\n', [200]],
}
for (const [name, [bytes, statuses]] of Object.entries(shapes)) {
  test(`${name}: ${statuses.join(', then ') || 'no answer'}, closed; the next request is healthy`, async () => {
    const { socket, closed, received } = await connect()
    socket.write(bytes, 'latin1')
    await closed
    assert.deepEqual(statusesOf(received()), statuses, received())
    await honestly()
  })
}

test('an endless upload: 405, and the connection is closed', async () => {
  const { socket, closed, received } = await connect()
  socket.write(`PUT /health HTTP/1.1\r\n${host}Content-Length: 999999999999\r\n\r\n`)
  // Read the answer first: unread bytes are lost when the server resets the connection.
  await once(socket, 'data')
  let written = 0
  const chunk = 'x'.repeat(64 * 1024)
  while (!socket.destroyed && written < 2 ** 30) {
    written += chunk.length
    if (!socket.write(chunk)) await Promise.race([once(socket, 'drain').catch(() => {}), closed])
  }
  await closed
  assert.ok(written < 2 ** 30, 'it took a gigabyte')
  assert.deepEqual(statusesOf(received()), [405])
  await honestly()
})

test('a client that leaves during a check costs nothing', async t => {
  await postgres.freeze()
  t.after(() => postgres.thaw())
  for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
    const { socket, closed } = await connect()
    socket.write(honest)
    socket[leave]()
    await closed
  }
  await postgres.thaw()
  await honestly()
})
