// The contract of the endpoint, on real sockets.

import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { Server } from 'node:http'
import net from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createLife } from '../../../lib/health/phase.ts'
import { repliesOf } from '../../../lib/health/reply.ts'
import { sentences, shutdownVerdict, type Verdict } from '../../../lib/health/verdict.ts'
import { createConnections } from '../../../lib/http/connections.ts'
import { createHttp, type HttpOptions } from '../../../lib/http/server.ts'

/** A check as the tests of this file write it. */
type Check = () => Promise<{ verdict: Verdict; waitMs: number }>

const callsBack =
  (check: Check): HttpOptions['check'] =>
  (answer, fail) => {
    check().then(({ verdict, waitMs }) => answer(verdict, waitMs), fail)
  }

const now = () => performance.now()
const answering =
  (verdict: Verdict): Check =>
  async () => ({ verdict, waitMs: 0 })
const isHealthy = answering({ by: 'check', result: 'healthy', queryMs: 1 })
const neverCalled: Check = () => assert.fail('the check was called')

// ---- The table of the contract ----

interface Row {
  readonly target: string
  readonly verdict?: Verdict
  readonly status: number
  readonly body: string
}

const contract: Row[] = [
  ...['/health', '/health/', '/readyz', '/health?x=/y', 'http://h/health'].map(target => ({
    target,
    verdict: { by: 'check', result: 'healthy' } as const,
    status: 200,
    body: '{"status": "healthy","database": "connected"}',
  })),
  ...Object.entries(sentences).map(([reason, sentence]) => ({
    target: '/health',
    verdict: { by: 'check', result: reason as Verdict['result'] } as const,
    status: 503,
    body: `{"status": "unhealthy","error": "${sentence}"}`,
  })),
  { target: '/livez', status: 200, body: '{"status": "alive"}' },
  { target: '/', status: 404, body: '{"error": "not found"}' },
  { target: '//health', status: 404, body: '{"error": "not found"}' },
]

describe('createHttp()', { concurrency: true }, () => {
  for (const { target, verdict, status, body } of contract) {
    const name = `${target}${verdict ? ` when ${verdict.result}` : ''}`

    test(`${name}: ${status} ${body}; HEAD and OPTIONS as GET, but for the body`, async t => {
      const { ask } = await serve(t, { check: verdict ? answering(verdict) : neverCalled })
      const get = await ask(`GET ${target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)
      assert.equal(get.status, status)
      assert.equal(get.body, body)
      assertHeaders(get, body.length)

      const head = await ask(`HEAD ${target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)
      assert.equal(head.status, status)
      assert.equal(head.body, '')
      assertHeaders(head, body.length)
      assert.deepEqual(steadyHeadersOf(head), steadyHeadersOf(get))

      // What HAProxy's `option httpchk` sends: HTTP/1.0 and no Host.
      const options = await ask(`OPTIONS ${target} HTTP/1.0\r\n\r\n`)
      assert.equal(options.status, status)
      assert.equal(options.body, status === 404 ? body : '')
      assertHeaders(options, options.body.length)
      assert.equal(options.headers['allow'], status === 404 ? undefined : 'GET, HEAD, OPTIONS')
    })
  }

  test('every other method: 405 and which methods are allowed, without a check', async t => {
    const { ask } = await serve(t, { check: neverCalled })
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND']) {
      const reply = await ask(`${method} /health HTTP/1.1\r\nHost: h\r\n\r\n`)
      assert.equal(reply.status, 405, method)
      assert.equal(reply.body, '{"error": "method not allowed"}')
      assert.equal(reply.headers['allow'], 'GET, HEAD, OPTIONS')
      assertHeaders(reply, 31)
    }
  })

  test('createHttp() answers unhealthy with the status it is given', async t => {
    const { ask } = await serve(t, {
      check: answering({ by: 'deadline', result: 'timeout' }),
      replies: repliesOf(200),
    })
    const reply = await ask('GET /health HTTP/1.0\r\n\r\n')
    assert.equal(reply.status, 200)
    assert.equal(reply.body, '{"status": "unhealthy","error": "health check timed out"}')
  })

  const timings: [Verdict, waitMs: number, passedMs: number, time: string, timing: string][] = [
    [
      { by: 'check', result: 'healthy', queryMs: 0.456 },
      0,
      0.461,
      '0',
      'wait;dur=0, query;dur=0.46, total;dur=0.5',
    ],
    [
      { by: 'check', result: 'healthy', connectMs: 7, queryMs: 1.999 },
      3.5,
      12.5,
      '13',
      'wait;dur=3.5, connect;dur=7, query;dur=2, total;dur=12.5',
    ],
    [
      { by: 'check', result: 'connect_timeout', connectMs: 1995 },
      0,
      1995.2,
      '1995',
      'wait;dur=0, connect;dur=1995, total;dur=1995.2',
    ],
    [{ by: 'deadline', result: 'timeout' }, 1995.004, 1995.006, '1995', 'wait;dur=1995, total;dur=1995'],
  ]
  for (const [verdict, waitMs, passedMs, time, timing] of timings) {
    test(`createHttp() says how long it took: x-process-time-ms ${time}, server-timing ${timing}`, async t => {
      let ms = 1_000
      const check: Check = async () => {
        ms += passedMs
        return { verdict, waitMs }
      }
      const { ask } = await serve(t, { check, now: () => ms })
      const { headers } = await ask('GET /health HTTP/1.0\r\n\r\n')
      assert.equal(headers['x-process-time-ms'], time)
      assert.equal(headers['server-timing'], timing)
    })
  }

  test('createHttp() echoes nothing of a request', async t => {
    const { ask } = await serve(t)
    const marker = 'm4rk3r'
    const head = `Host: ${marker}\r\nOrigin: http://${marker}\r\nCookie: ${marker}\r\nX-Request-Id: ${marker}\r\n`
    for (const line of [
      'GET /health?m4rk3r',
      'GET /m4rk3r',
      'TRACE /health?m4rk3r',
      'OPTIONS http://m4rk3r/livez',
    ]) {
      const { text } = await ask(`${line} HTTP/1.1\r\n${head}Connection: close\r\n\r\n`)
      assert.match(text, /^HTTP\/1\.1 (200|404|405) /)
      assert.ok(!text.includes(marker), text)
    }
  })

  // ---- Connections ----

  test('createHttp() keeps a connection alive, above the 60 s of balancers', async t => {
    const { connect } = await serve(t)
    const client = await connect()
    for (const target of ['/health', '/livez', '/health']) {
      client.socket.write(`GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`)
      const reply = await client.reply()
      assert.equal(reply.status, 200)
      assert.equal(reply.headers['connection'], 'keep-alive')
      assert.equal(reply.headers['keep-alive'], 'timeout=65')
    }
  })

  test('createHttp() tells of each check its own times', async t => {
    const times = [1, 2]
    const check: Check = async () => ({
      verdict: { by: 'check', result: 'healthy', queryMs: times.shift() ?? 0 },
      waitMs: 0,
    })
    const { ask } = await serve(t, { check })
    for (const ms of [1, 2]) {
      const { headers } = await ask('GET /health HTTP/1.0\r\n\r\n')
      assert.match(headers['server-timing'] ?? '', new RegExp(`query;dur=${ms},`))
    }
  })

  test('createHttp() lets ten requests wait on a connection, and closes one that sends more', async t => {
    const { check, answer } = held()
    const { connect, ask } = await serve(t, { check })
    const patient = await connect()
    const flood = await connect()
    const request = 'GET /health HTTP/1.1\r\nHost: h\r\n\r\n'
    patient.socket.write(request.repeat(10))
    flood.socket.write(request.repeat(20))
    await flood.closed
    assert.equal(flood.received(), '')
    assert.equal((await ask('GET /livez HTTP/1.0\r\n\r\n')).status, 200)
    answer({ by: 'check', result: 'healthy' })
    for (let request = 0; request < 10; request += 1) assert.equal((await patient.reply()).status, 200)
    // Those are answered, and count no more.
    patient.socket.write(request.repeat(10))
    for (let request = 0; request < 10; request += 1) assert.equal((await patient.reply()).status, 200)
  })

  test('createHttp() makes a page once for all who ask at once, and anew for who asks after', async t => {
    let made = 0
    const render = () => {
      made += 1
      return { status: 200, body: `${made}` }
    }
    const { connect } = await serve(t, { pages: new Map([['/page', render]]), check: neverCalled })
    const client = await connect()
    const bodies: string[] = []
    for (const count of [10, 1]) {
      client.socket.write('GET /page HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(count))
      for (let reply = 0; reply < count; reply += 1) bodies.push((await client.reply()).body)
    }
    assert.deepEqual(bodies, [...Array(10).fill('1'), '2'])
  })

  test('createHttp() answers three pipelined requests, in their order', async t => {
    let checks = 0
    const check: Check = async () => {
      checks += 1
      return { verdict: { by: 'check', result: checks === 1 ? 'timeout' : 'healthy' }, waitMs: 0 }
    }
    const { connect } = await serve(t, { check })
    const client = await connect()
    client.socket.write(
      'GET /health HTTP/1.1\r\nHost: h\r\n\r\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\nGET /health HTTP/1.1\r\nHost: h\r\n\r\n',
    )
    const replies = [await client.reply(), await client.reply(), await client.reply()]
    assert.deepEqual(
      replies.map(({ status, body }) => `${status} ${body}`),
      [
        '503 {"status": "unhealthy","error": "health check timed out"}',
        '200 {"status": "alive"}',
        '200 {"status": "healthy","database": "connected"}',
      ],
    )
  })

  for (const version of ['1.0', '1.1']) {
    test(`createHttp() answers HTTP/${version}, also a client that closes its half before its answer`, async t => {
      const { check, called, answer } = held()
      const { connect } = await serve(t, { check })
      const client = await connect()
      client.socket.end(`GET /health HTTP/${version}\r\nHost: h\r\n\r\n`)
      await called
      if (!client.far().readableEnded) await once(client.far(), 'end')
      answer({ by: 'check', result: 'healthy' })
      assert.equal((await client.rest()).status, 200)
    })
  }

  test('createHttp() has the timeouts of its design, and leaves the rest to Node', async t => {
    const { ask, server } = await serve(t)
    await ask('GET /livez HTTP/1.0\r\n\r\n')
    const { headersTimeout, requestTimeout, keepAliveTimeout, timeout } = server()
    assert.deepEqual(
      { headersTimeout, requestTimeout, keepAliveTimeout, timeout },
      { headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 65_000, timeout: 0 },
    )
    for (const event of ['clientError', 'upgrade', 'connect', 'checkContinue', 'checkExpectation']) {
      assert.equal(server().listenerCount(event), 0, event)
    }
  })

  for (const upload of [
    'GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n',
    'GET /health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3b9ac9ff\r\n',
    'POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n',
    'POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n',
  ]) {
    const [line = '', , framing] = upload.split('\r\n')
    test(`createHttp() answers "${line}" with "${framing}", and cuts the upload off`, async t => {
      const { connect } = await serve(t)
      const client = await connect()
      client.socket.write(upload)
      const reply = await client.reply()
      assert.equal(reply.status, line.startsWith('GET') ? 200 : line.includes('nowhere') ? 404 : 405)
      assert.equal(reply.headers['connection'], 'close')
      // Goes on uploading as long as it can; the end of this test is that it can't.
      const more = () => client.socket.write('x'.repeat(65_536), error => error ?? more())
      more()
      await client.closed
    })
  }

  test('createHttp() keeps the connection of a request that says it has no body', async t => {
    const { connect } = await serve(t)
    const client = await connect()
    client.socket.write('GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n')
    assert.equal((await client.reply()).headers['connection'], 'keep-alive')
  })

  const smuggling: [name: string, head: string][] = [
    ['content-length and transfer-encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
    ['two different content-lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
    ['two equal content-lengths', 'Content-Length: 5\r\nContent-Length: 5\r\n'],
    ['a negative content-length', 'Content-Length: -1\r\n'],
    ['a signed content-length', 'Content-Length: +5\r\n'],
    ['transfer-encoding chunked, identity', 'Transfer-Encoding: chunked, identity\r\n'],
    ['a folded header', 'X-Folded: a\r\n b\r\n'],
    ['a NUL in a header', 'X-Nul: a\0b\r\n'],
    ['a space before the colon', 'X-Space : a\r\n'],
    ['a header without a colon', 'X-Colon\r\n'],
  ]
  for (const [name, head] of smuggling) {
    test(`createHttp() answers 400 to ${name}, closes, and makes no check`, async t => {
      const { ask } = await serve(t, { check: neverCalled })
      const reply = await ask(`POST /health HTTP/1.1\r\nHost: h\r\n${head}\r\n`)
      assert.equal(reply.status, 400)
      assert.equal(reply.headers['connection'], 'close')
    })
  }

  for (const line of ['GET \\health HTTP/1.1', 'GET /he\0alth HTTP/1.1', 'GET  HTTP/1.1', 'hello']) {
    test(`createHttp() answers 400 to the line ${JSON.stringify(line)}`, async t => {
      const { ask } = await serve(t, { check: neverCalled })
      assert.equal((await ask(`${line}\r\nHost: h\r\n\r\n`)).status, 400)
    })
  }

  test('createHttp() is not upset by a body that turns out to be malformed while its check runs', async t => {
    const { check, called, answer } = held()
    const { connect, ask, faults } = await serve(t, { check })
    const client = await connect()
    client.socket.write('GET /health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n')
    await called
    client.socket.write('ZZ\r\n')
    await client.closed
    answer({ by: 'check', result: 'healthy' })
    assert.equal((await ask('GET /livez HTTP/1.0\r\n\r\n')).status, 200)
    assert.deepEqual(faults, [])
  })

  test('createHttp() answers 431 to a head of 9 KiB, and 200 to one of 7', async t => {
    const { ask } = await serve(t)
    const headOf = (bytes: number) => `GET /health HTTP/1.0\r\nX-Long: ${'x'.repeat(bytes)}\r\n\r\n`
    assert.equal((await ask(headOf(9 * 1024))).status, 431)
    assert.equal((await ask(headOf(7 * 1024))).status, 200)
  })

  test('createHttp() lets go of whoever has been silent longest when there are too many, and not of who comes', async t => {
    const { connect, ask } = await serve(t, { connections: createConnections(3) })
    const [first, second, third] = [await connect(), await connect(), await connect()]
    first.socket.write('GET /livez HTTP/1.1\r\nHost: h\r\n\r\n')
    assert.equal((await first.reply()).status, 200)
    // Half a request is silence, too.
    second.socket.write('GET /livez HTTP/1.1\r\n')
    assert.equal((await ask('GET /livez HTTP/1.0\r\n\r\n')).status, 200)
    await second.closed
    assert.equal(second.received(), '')
    const fourth = await connect()
    for (const client of [first, third, fourth]) {
      client.socket.write('GET /livez HTTP/1.1\r\nHost: h\r\n\r\n')
      assert.equal((await client.reply()).status, 200)
    }
  })

  test('createHttp() lets nobody go who waits for an answer: when all wait, who comes is one too many', async t => {
    const { check, called, answer } = held()
    const { connect } = await serve(t, { check, connections: createConnections(1) })
    const waiting = await connect()
    waiting.socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await called
    const surplus = await connect()
    await surplus.closed
    answer({ by: 'check', result: 'healthy' })
    assert.equal((await waiting.reply()).status, 200)
    const newcomer = await connect()
    await waiting.closed
    newcomer.socket.write('GET /livez HTTP/1.1\r\nHost: h\r\n\r\n')
    assert.equal((await newcomer.reply()).status, 200)
  })

  test('createHttp() says how many requests wait for their answer', async t => {
    const { check, called, answer } = held()
    const { connect, connections } = await serve(t, { check })
    assert.equal(connections.inFlight(), 0)
    const [gone, patient] = [await connect(), await connect()]
    gone.socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await called
    await gone.reset()
    patient.socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    while (connections.inFlight() < 2) await nextTurn()
    answer({ by: 'check', result: 'healthy' })
    assert.equal((await patient.reply()).status, 200)
    assert.equal(connections.inFlight(), 0)
  })

  test('createHttp() tells of every answer its path, one of a closed list, its status and its time', async t => {
    const told: string[] = []
    const { ask } = await serve(t, {
      onAnswer(path, status, totalMs) {
        assert.ok(totalMs >= 0 && totalMs < 60_000)
        told.push(`${path} ${status}`)
      },
    })
    for (const line of ['GET /health/?x', 'HEAD /readyz', 'PUT /livez', 'GET /nobody/knows']) {
      await ask(`${line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)
    }
    assert.deepEqual(told, ['/health 200', '/readyz 200', '/livez 405', 'other 404'])
  })

  test('createHttp() shows a page with its own type and headers, and its length in bytes', async t => {
    const pages = new Map([
      [
        '/page',
        () => ({ status: 200, body: '<p>é', contentType: 'text/html', headers: ['x-frame-options', 'DENY'] }),
      ],
    ])
    const { ask } = await serve(t, { pages, check: neverCalled })
    const get = await ask('GET /page?x HTTP/1.0\r\n\r\n')
    assert.deepEqual([get.status, Buffer.from(get.body, 'latin1').toString()], [200, '<p>é'])
    const { 'content-type': type, 'content-length': length, 'x-frame-options': frames } = get.headers
    assert.deepEqual([type, length, frames], ['text/html', '5', 'DENY'])
    assert.match(get.headers['x-process-time-ms'] ?? '', /^\d+$/)
    const head = await ask('HEAD /page HTTP/1.0\r\n\r\n')
    assert.deepEqual([head.body, steadyHeadersOf(head)], ['', steadyHeadersOf(get)])
    for (const method of ['POST', 'OPTIONS']) {
      const { status, headers } = await ask(`${method} /page HTTP/1.0\r\n\r\n`)
      assert.deepEqual([status, headers['allow']], [405, 'GET, HEAD'])
    }
    assert.equal((await ask('GET /page/ HTTP/1.0\r\n\r\n')).status, 404)
  })

  test('createHttp() answers 500 when a page throws, and serves the next request', async t => {
    const throwing = () => {
      throw new Error('ours')
    }
    const { ask, faults, connections } = await serve(t, { pages: new Map([['/page', throwing]]) })
    assert.equal((await ask('GET /page HTTP/1.1\r\nHost: h\r\n\r\n')).status, 500)
    assert.deepEqual([faults.length, connections.inFlight()], [1, 0])
    assert.equal((await ask('GET /health HTTP/1.0\r\n\r\n')).status, 200)
  })

  // ---- Faults ----

  const rejecting: Check = () => Promise.reject(new Error('ours'))
  const throwing: Check = () => {
    throw new Error('ours')
  }
  const strange = answering({ by: 'deadline', result: 'no such reason' as 'unknown' })
  for (const [name, fault] of Object.entries({
    rejects: rejecting,
    throws: throwing,
    'has no reply': strange,
  })) {
    test(`createHttp() answers 500 when a check ${name}, tells of it, and serves the next request`, async t => {
      let faulty = true
      const { ask, faults } = await serve(t, { check: () => (faulty ? fault() : isHealthy()) })
      const reply = await ask('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
      assert.equal(reply.status, 500)
      assert.equal(reply.body, '{"error": "internal error"}')
      assert.equal(reply.headers['connection'], 'close')
      assertHeaders(reply, 27)
      assert.equal(faults.length, 1)
      faulty = false
      assert.equal((await ask('GET /health HTTP/1.0\r\n\r\n')).status, 200)
    })
  }

  for (const outcome of ['answers', 'rejects'] as const) {
    test(`createHttp() loses nothing when a client is gone before its check ${outcome}`, async t => {
      const { check, called, answer, fail } = held()
      const { connect, ask, faults } = await serve(t, { check })
      const client = await connect()
      client.socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
      await called
      await client.reset()
      if (outcome === 'answers') answer({ by: 'check', result: 'healthy' })
      else fail(new Error('ours'))
      assert.equal((await ask('GET /livez HTTP/1.0\r\n\r\n')).status, 200)
      assert.equal(faults.length, outcome === 'answers' ? 0 : 1)
    })
  }

  test('listen() rejects with the code of the system when the port is taken', async t => {
    const { port } = await serve(t)
    const second = createHttp({
      check: callsBack(isHealthy),
      replies: repliesOf(503),
      pages: new Map(),
      now,
      connections: createConnections(9),
      phase: () => 'serving',
      onAnswer() {},
      onError() {},
      onAcceptError() {},
    })
    await assert.rejects(second.listen({ port, host: '127.0.0.1' }), { code: 'EADDRINUSE' })
  })

  test('a connection that cannot be accepted is told apart from a fault in a request, and ends nothing', async t => {
    const refused: unknown[] = []
    const { ask, faults, server } = await serve(t, { onAcceptError: error => refused.push(error) })
    await ask('GET /livez HTTP/1.0\r\n\r\n')
    const full = Object.assign(new Error('accept ENFILE'), { code: 'ENFILE' })
    server().emit('error', full)
    assert.deepEqual([refused, faults], [[full], []])
    assert.equal((await ask('GET /health HTTP/1.0\r\n\r\n')).status, 200)
  })

  // ---- The stop ----

  test('createHttp() while draining closes every connection after its answer; /livez stays 200', async t => {
    const { life, connect } = await serve(t, { check: answering(shutdownVerdict) })
    const clients = await Promise.all(
      ['GET /livez', 'GET /health', 'GET /readyz', 'OPTIONS /health', 'GET /nowhere', 'PUT /health'].map(
        async line => ({ line, ...(await connect()) }),
      ),
    )
    life.enter('draining')
    const stopping = '503 {"status": "unhealthy","error": "server is shutting down"}'
    const expected = [
      '200 {"status": "alive"}',
      stopping,
      stopping,
      '503 ',
      '404 {"error": "not found"}',
      '405 {"error": "method not allowed"}',
    ]
    for (const [index, { line, socket, rest }] of clients.entries()) {
      socket.write(`${line} HTTP/1.1\r\nHost: h\r\n\r\n`)
      const { status, body, headers } = await rest()
      assert.equal(`${status} ${body}`, expected[index], line)
      assert.equal(headers['connection'], 'close', line)
    }
  })

  test('createHttp() while draining sends the verdict of a running check, and closes that connection, too', async t => {
    const { check, called, answer } = held()
    const { life, ask } = await serve(t, { check })
    const reply = ask('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await called
    life.enter('draining')
    answer({ by: 'check', result: 'healthy' })
    assert.equal((await reply).status, 200)
    assert.equal((await reply).headers['connection'], 'close')
  })

  test('close() lets what is in flight finish within the grace, and takes nobody new', async t => {
    const { check, called, answer } = held()
    const { http, life, ask, port } = await serve(t, { check })
    const reply = ask('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await called
    life.enter('draining')
    const closed = http.close(600_000)
    const refused = net.connect(port, '127.0.0.1')
    await assert.rejects(once(refused, 'connect'), { code: 'ECONNREFUSED' })
    answer({ by: 'check', result: 'healthy' })
    assert.equal((await reply).body, '{"status": "healthy","database": "connected"}')
    await closed
  })

  test('close() closes idle connections at once, whatever the grace', async t => {
    const { http, connect } = await serve(t)
    const client = await connect()
    client.socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await client.reply()
    await Promise.all([http.close(600_000), client.closed])
    assert.equal(client.received(), '')
  })

  test('close() is not held by a request half sent: it is cut off after the grace', async t => {
    const { http, connect } = await serve(t)
    const client = await connect()
    client.socket.write('GET /livez HTTP/1.1\r\nHost: h\r\n\r\n')
    await client.reply()
    const { bytesRead } = client.far()
    client.socket.write('GET /hea')
    while (client.far().bytesRead === bytesRead) await nextTurn()
    await http.close(10)
    await client.closed
    assert.equal(client.received(), '')
  })

  test('close() is not held by a check that does not end: it is cut off after the grace', async t => {
    const { check, called } = held()
    const { http, connect } = await serve(t, { check })
    const client = await connect()
    client.socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await called
    await http.close(10)
    await client.closed
    assert.equal(client.received(), '')
  })
})

// ---- The stage ----

interface Answer {
  readonly text: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** A server made by createHttp on a port of its own, and clients that speak bytes. */
async function serve(
  t: TestContext,
  { check = isHealthy, ...options }: Partial<Omit<HttpOptions, 'check'>> & { check?: Check } = {},
) {
  const faults: unknown[] = []
  const life = createLife()
  const { connections = createConnections(100) } = options
  const http = createHttp({
    check: callsBack(check),
    replies: repliesOf(503),
    pages: new Map(),
    now,
    connections,
    phase: life.phase,
    onAnswer() {},
    onError: error => faults.push(error),
    onAcceptError: error => faults.push(error),
    ...options,
  })
  const port = (await http.listen({ port: 0, host: '127.0.0.1' }))?.port ?? 0
  const sockets: net.Socket[] = []
  let server: Server | undefined
  const far = new Map<number | undefined, net.Socket>()
  const requests = channel('http.server.request.start')
  const notice = (message: unknown) => {
    const seen = message as { server: Server; socket: net.Socket }
    if (seen.socket.localPort !== port) return
    server = seen.server
    far.set(seen.socket.remotePort, seen.socket)
  }
  requests.subscribe(notice)
  t.after(async () => {
    requests.unsubscribe(notice)
    for (const socket of sockets) socket.destroy()
    await http.close(0)
  })
  return {
    life,
    connections,
    http,
    port,
    faults,
    connect,
    ask,
    server: () => server ?? assert.fail('no request came'),
  }

  /** A connected client; its answers are taken off one by one. */
  async function connect() {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    sockets.push(socket)
    let received = ''
    // A server that closes while we write resets the connection: that is an end like any other.
    socket.on('error', () => {})
    socket.setEncoding('latin1').on('data', chunk => {
      received += chunk
    })
    const closed = new Promise<void>(resolve => {
      socket.once('end', () => {
        socket.destroy()
      })
      socket.once('close', () => resolve())
    })
    await once(socket, 'connect')
    return { socket, closed, received: () => received, reply, rest, reset, far: farSide }

    /** Goes away in a way that the server notices: of a plain end it can't tell whether only a half is closed. */
    async function reset() {
      const noticed = new Promise(resolve => farSide().once('close', resolve))
      socket.resetAndDestroy()
      await noticed
    }

    /** The server's end of this connection, once it has sent a request. */
    function farSide() {
      return far.get(socket.localPort) ?? assert.fail('no request came')
    }

    /** The next answer, by its content-length. */
    async function reply(): Promise<Answer> {
      for (;;) {
        const head = received.indexOf('\r\n\r\n') + 4
        const length = Number(/^content-length: (\d+)/im.exec(received)?.[1])
        if (head >= 4 && received.length >= head + length) {
          const text = received.slice(0, head + length)
          received = received.slice(head + length)
          return answerOf(text)
        }
        if (socket.readableEnded || socket.destroyed) assert.fail(`no answer, but: ${received}`)
        await Promise.race([once(socket, 'data'), closed])
      }
    }

    /** All that comes until the server closes: one answer. */
    async function rest(): Promise<Answer> {
      await closed
      return answerOf(received)
    }
  }

  /** Sends bytes on a connection of their own; the answer is what comes until the server closes. */
  async function ask(bytes: string): Promise<Answer> {
    const client = await connect()
    client.socket.write(bytes, 'latin1')
    return client.rest()
  }
}

function answerOf(text: string): Answer {
  const head = text.indexOf('\r\n\r\n')
  const [line = '', ...lines] = text.slice(0, head).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1] ?? assert.fail(`not an answer: ${text}`))
  const headers = lines.map(header => {
    const colon = header.indexOf(': ')
    return [header.slice(0, colon).toLowerCase(), header.slice(colon + 2)]
  })
  return { text, status, headers: Object.fromEntries(headers), body: text.slice(head + 4) }
}

/** What every answer of ours carries; nothing else but `allow` and what Node adds. */
function assertHeaders({ headers }: Answer, length: number) {
  assert.equal(headers['content-type'], 'application/json')
  assert.equal(headers['content-length'], `${length}`)
  assert.equal(headers['cache-control'], 'no-store')
  assert.match(headers['x-process-time-ms'] ?? '', /^\d+$/)
  const dur = String.raw`;dur=\d+(\.\d{1,2})?`
  const grammar = `^(wait${dur}, )?(connect${dur}, )?(query${dur}, )?total${dur}$`
  assert.match(headers['server-timing'] ?? '', new RegExp(grammar))
  const known = ['content-type', 'content-length', 'cache-control', 'x-process-time-ms', 'server-timing']
  const others = Object.keys(headers).filter(name => !known.includes(name))
  assert.deepEqual(
    others.filter(name => !['allow', 'date', 'connection', 'keep-alive'].includes(name)),
    [],
  )
}

function steadyHeadersOf({ headers }: Answer) {
  const { 'x-process-time-ms': _, 'server-timing': __, date: ___, ...steady } = headers
  return steady
}

/** A check that stays open until the test answers it; `called` resolves when it has begun. */
function held() {
  let call = () => {}
  let answer = (_: Verdict) => {}
  let fail = (_: Error) => {}
  const outcome = new Promise<{ verdict: Verdict; waitMs: number }>((resolve, reject) => {
    answer = verdict => resolve({ verdict, waitMs: 0 })
    fail = reject
  })
  const called = new Promise<void>(resolve => {
    call = resolve
  })
  const check: Check = () => {
    call()
    return outcome
  }
  return { check, called, answer, fail }
}
