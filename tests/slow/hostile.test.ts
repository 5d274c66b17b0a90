// Many hostile clients of the running program: an honest prober still gets its answer.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { setInterval as every } from 'node:timers/promises'
import { askHonestly, connectRaw, type Raw, statusesOf } from '../support/bytes.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { createRandom } from '../support/random.ts'
import { type Running, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

const timeoutMs = 2_000
/** The server keeps 64 descriptors for itself. The others are for clients. */
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

const connect = () => connectRaw(port)
const honestly = () => askHonestly(server.origin, timeoutMs)

// ---- Many connections ----

test('silent connections, three times the limit: every new honest client is answered', async t => {
  const silent: Raw[] = []
  t.after(() => {
    for (const { socket } of silent) socket.destroy()
  })
  for (let count = 0; count < maxConnections * 3; count += 1) {
    silent.push(await connect())
    if (count % 20 === 0) await honestly()
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
  test(`slowhttptest, ${name}, three times the limit: every honest request is answered`, async t => {
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
        await honestly()
        answered += 1
      }
    } catch (error) {
      if ((error as Error).name !== 'AbortError') throw error
    }
    assert.ok(answered >= 3, `asked only ${answered} times`)
    await honestly()
  })
}

// ---- Ten thousand inputs ----

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
  'GET /health HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /health HTTP/1.1\r\nHost: h\r\n\r\n',
]

test('ten thousand fuzzed inputs: only answers of ours come back, and honest requests succeed', async () => {
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
      await honestly()
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()])
  assert.equal(next, 10_000)

  /** Sends the bytes, closes this half, and gives what the server sends until it has closed. */
  async function sendToTheEnd(bytes: Buffer) {
    const { socket, closed, received } = await connect()
    socket.end(bytes)
    await closed
    return received()
  }
})
