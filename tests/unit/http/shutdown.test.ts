// What the HTTP server does while it drains and closes.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { shutdownVerdict } from '../../../lib/health/verdict.ts'
import { answering, held, serve } from '../../support/http.ts'

describe('createHttp()', { concurrency: true }, () => {
  test('createHttp() while draining closes every connection after its response; /livez stays 200', async t => {
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

  test('createHttp() while draining sends the verdict of a running check, and closes that connection', async t => {
    const { check, called, answer } = held()
    const { life, ask } = await serve(t, { check })
    const reply = ask('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await called
    life.enter('draining')
    answer({ by: 'check', result: 'healthy' })
    assert.equal((await reply).status, 200)
    assert.equal((await reply).headers['connection'], 'close')
  })

  test('close() lets requests in flight finish within the grace period, and refuses new connections', async t => {
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

  test('close() closes idle connections immediately, whatever the grace period', async t => {
    const { http, connect } = await serve(t)
    const client = await connect()
    client.socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    await client.reply()
    await Promise.all([http.close(600_000), client.closed])
    assert.equal(client.received(), '')
  })

  test('close() cuts off a half-sent request after the grace period', async t => {
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

  test('close() cuts off a check that does not end after the grace period', async t => {
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
