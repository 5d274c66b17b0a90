// How many requests a connection may send, how long it lives, and which one closes at the limit.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { type Check, held, serve } from '../../support/http.ts'

describe('createHttp()', { concurrency: true }, () => {
  test('createHttp() keeps a connection alive for longer than the 60 s of balancers', async t => {
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

  test('createHttp() queues ten requests per connection, and closes a connection that sends more', async t => {
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
    // Those are answered and no longer count.
    patient.socket.write(request.repeat(10))
    for (let request = 0; request < 10; request += 1) assert.equal((await patient.reply()).status, 200)
  })

  test('createHttp() answers pipelined requests in their order', async t => {
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
    test(`createHttp() answers an HTTP/${version} client that closes its sending half early`, async t => {
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
    test(`createHttp() answers "${line}" with "${framing}", and ends the upload`, async t => {
      const { connect } = await serve(t)
      const client = await connect()
      client.socket.write(upload)
      const reply = await client.reply()
      assert.equal(reply.status, line.startsWith('GET') ? 200 : line.includes('nowhere') ? 404 : 405)
      assert.equal(reply.headers['connection'], 'close')
      // Uploads until it fails. The test ends because it does.
      const more = () => client.socket.write('x'.repeat(65_536), error => error ?? more())
      more()
      await client.closed
    })
  }

  test('createHttp() keeps the connection of a request with content-length 0', async t => {
    const { connect } = await serve(t)
    const client = await connect()
    client.socket.write('GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n')
    assert.equal((await client.reply()).headers['connection'], 'keep-alive')
  })

  test('createHttp() closes the longest-idle connection at the limit, and accepts the new one', async t => {
    const { connect, ask } = await serve(t, { maxConnections: 3 })
    const [first, second, third] = [await connect(), await connect(), await connect()]
    first.socket.write('GET /livez HTTP/1.1\r\nHost: h\r\n\r\n')
    assert.equal((await first.reply()).status, 200)
    // A client with half a request is idle, too.
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

  test('createHttp() never closes a connection with a pending request: if all wait, the new one closes', async t => {
    const { check, called, answer } = held()
    const { connect } = await serve(t, { check, maxConnections: 1 })
    const waiting = await connect()
    waiting.socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await called
    const surplus = await connect()
    await surplus.closed
    answer({ by: 'check', result: 'healthy' })
    assert.equal((await waiting.reply()).status, 200)
    const later = await connect()
    await waiting.closed
    later.socket.write('GET /livez HTTP/1.1\r\nHost: h\r\n\r\n')
    assert.equal((await later.reply()).status, 200)
  })
})
