// The whole program and the clients nobody wants: whatever they send, or do not send, an honest prober gets its answer.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, test } from 'node:test'
import { setInterval as every } from 'node:timers/promises'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { createRandom } from '../support/random.ts'
import { ask, type Running, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

const timeoutMs = 2_000
/** The server has 64 descriptors for itself: so many clients remain. */
const descriptors = 200
const maxConnections = descriptors - 64

let postgres: Postgres
let server: Running
let port: number
before(async () => {
  postgres = await openPostgres()
  const settings = { DATABASE_URL: postgres.url, HEALTH_TIMEOUT_MS: String(timeoutMs) }
  server = await startServer(settings, undefined, {
    through: ['sh', '-c', `ulimit -n ${descriptors}; exec "$0" "$@"`],
  })
  port = Number(new URL(server.origin).port)
})
after(async () => {
  assert.equal(server.child.exitCode, null, 'the server has ended')
  assert.doesNotMatch(server.output(), /unhandled_rejection|uncaught_exception|request_failed/)
  assert.equal(await server.stop(), 0)
  await postgres.close()
})

/** Asks as a load balancer does, on a connection of its own; the answer is healthy and in time. */
async function askHonestly() {
  const { status, body, sentAt, answeredAt } = await ask(`${server.origin}/health`)
  assert.deepEqual([status, body], [200, '{"status": "healthy","database": "connected"}'])
  assert.ok(answeredAt - sentAt < timeoutMs, `${answeredAt - sentAt} ms`)
}

/** Connects. A reset is an end like any other. */
async function connect() {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let received = ''
  socket.on('error', () => {}).setEncoding('latin1')
  socket.on('data', chunk => {
    received += chunk
  })
  socket.once('end', () => socket.end())
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  await once(socket, 'connect')
  return { socket, closed, received: () => received }
}

/** The status of every answer in the text: an answer of ours, and nothing else, begins like this. */
function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1]))
}

// ---- One request that is odd ----

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
  'a transfer-encoding that nobody knows': [
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
  'an expectation that nobody can meet': [
    `GET /health HTTP/1.1\r\n${host}Connection: close\r\nExpect: miracles\r\n\r\n`,
    [417],
  ],
  "HTTP/2's preface": ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
  'a TLS handshake': ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(300, 'x'), [400]],
  'HTTP/0.9, which had no headers': ['GET /health\r\n\r\n', [200]],
  'no Host': ['GET /health HTTP/1.1\r\nConnection: close\r\n\r\n', [200]],
}
for (const [name, [bytes, statuses]] of Object.entries(shapes)) {
  test(`${name}: ${statuses.join(', then ') || 'no answer'}, closed, and the next honest request is answered`, async () => {
    const { socket, closed, received } = await connect()
    socket.write(bytes, 'latin1')
    await closed
    assert.deepEqual(statusesOf(received()), statuses, received())
    await askHonestly()
  })
}

test('an upload without end: answered 405, and cut off', async () => {
  const { socket, closed, received } = await connect()
  socket.write(`PUT /health HTTP/1.1\r\n${host}Content-Length: 999999999999\r\n\r\n`)
  // First the answer: what has not been read yet is lost when the server cuts the upload off.
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
  await askHonestly()
})

test('a client that goes away amid a check, politely or not, costs nothing', async t => {
  await postgres.freeze()
  t.after(() => postgres.thaw())
  for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
    const { socket, closed } = await connect()
    socket.write(honest)
    socket[leave]()
    await closed
  }
  await postgres.thaw()
  await askHonestly()
})

// ---- Many of them ----

test(`silent connections, three times as many as the server holds: every honest newcomer is answered`, async t => {
  const silent: Awaited<ReturnType<typeof connect>>[] = []
  t.after(() => {
    for (const { socket } of silent) socket.destroy()
  })
  for (let count = 0; count < maxConnections * 3; count += 1) {
    silent.push(await connect())
    if (count % 20 === 0) await askHonestly()
  }
  const [longest] = silent
  await longest?.closed
  assert.equal(longest?.received(), '', 'the longest silent one was let go')
})

const attacks = {
  'slow headers': ['-H', '-i', '1', '-x', '24'],
  'slow bodies': ['-B', '-i', '1', '-s', '8192', '-x', '10'],
  'slow readers': ['-X', '-w', '1', '-y', '2', '-n', '1', '-z', '1', '-k', '3'],
}
for (const [name, options] of Object.entries(attacks)) {
  test(`slowhttptest, ${name} on more connections than the server holds: the honest prober is answered every time`, async t => {
    const program = findTool(t, 'slowhttptest')
    if (!program) return
    const load = [
      '-c',
      String(maxConnections * 3),
      '-r',
      '100',
      '-l',
      '8',
      '-p',
      '1',
      '-u',
      `${server.origin}/health`,
    ]
    const attack = spawn(program, [...options, ...load], { stdio: 'ignore' })
    const ended = once(attack, 'exit')
    t.after(() => attack.kill('SIGKILL'))
    const patience = new AbortController()
    ended.then(() => patience.abort())
    let answered = 0
    try {
      for await (const _ of every(1_000, undefined, { signal: patience.signal })) {
        await askHonestly()
        answered += 1
      }
    } catch (error) {
      if ((error as Error).name !== 'AbortError') throw error
    }
    assert.ok(answered >= 3, `asked only ${answered} times`)
    await askHonestly()
  })
}

// ---- Ten thousand inputs that nobody thought of ----

const pieces = [
  'GET',
  'HEAD',
  'OPTIONS',
  'POST',
  'PUT',
  'CONNECT',
  'PRI',
  'get',
  ' ',
  '  ',
  '\t',
  '/',
  '/health',
  '/livez',
  '/readyz',
  '//',
  '*',
  '?',
  '#',
  '%00',
  '%',
  'http://',
  'http://h/health',
  '..',
  ' HTTP/1.1',
  ' HTTP/1.0',
  ' HTTP/2.0',
  ' HTTP/9.9',
  '\r\n',
  '\r\n',
  '\r\n',
  '\r\n\r\n',
  '\n',
  '\r',
  '\n\n',
  '\0',
  ':',
  ': ',
  'Host',
  'Host: h',
  'Connection: close',
  'Connection: keep-alive',
  'Content-Length: ',
  'Content-Length: 0',
  'Content-Length: 5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: ',
  'Expect: 100-continue',
  'Upgrade: h2c',
  '0',
  '5',
  'ffffffffffffffff',
  '0\r\n\r\n',
  '5\r\nabcde\r\n',
  'a'.repeat(300),
  'x: '.repeat(100),
  '\xff\xfe',
  '\x16\x03\x01',
  honest,
  honest,
]

test('ten thousand inputs of a seeded fuzzer: only answers of ours come back, and the next honest request is answered', async () => {
  const seed = 20_261_122
  const random = createRandom(seed)
  const inputs = Array.from({ length: 10_000 }, () => {
    const parts = Array.from({ length: 1 + random.below(12) }, () => random.pick(pieces))
    const bytes = Buffer.from(parts.join(''), 'latin1')
    for (let flips = random.below(4) - 1; flips > 0; flips -= 1)
      bytes[random.below(bytes.length)] = random.below(256)
    return bytes
  })
  let next = 0
  async function lane() {
    for (;;) {
      const input = inputs[next]
      if (!input) return
      next += 1
      const received = await sendToTheEnd(input)
      const answers = statusesOf(received)
      const what = `seed ${seed}: ${JSON.stringify(input.toString('latin1'))} gave ${JSON.stringify(received)}`
      assert.ok(received === '' || received.startsWith('HTTP/1.1 '), what)
      assert.deepEqual(
        answers.filter(status => ![100, 200, 400, 404, 405, 417, 431].includes(status)),
        [],
        what,
      )
      await askHonestly()
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()])
  assert.equal(next, 10_000)

  /** Sends the bytes, closes this half, and gives what comes until the server has closed its own. */
  async function sendToTheEnd(bytes: Buffer) {
    const { socket, closed, received } = await connect()
    socket.end(bytes)
    await closed
    return received()
  }
})
