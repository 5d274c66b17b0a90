// Internal errors, and clients that go away: one client is affected, and no other.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { describe, test } from 'node:test'
import { createHttp } from '../../../lib/http/server.ts'
import { answering, assertHeaders, type Check, held, isHealthy, serve } from '../../support/http.ts'

describe('createHttp()', { concurrency: true }, () => {
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
    test(`createHttp() answers 500 when a check ${name}, reports it, and serves the next request`, async t => {
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
    test(`createHttp() serves on when a client is gone before its check ${outcome}`, async t => {
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
    const options = { createServer, maxConnections: 1, handler() {}, onRefused() {} }
    const second = createHttp({ ...options, onAcceptError() {} })
    await assert.rejects(second.listen({ port, host: '127.0.0.1' }), { code: 'EADDRINUSE' })
  })

  test('onAcceptError() gets the error of a connection that cannot be accepted; the server goes on', async t => {
    const refused: unknown[] = []
    const { ask, faults, server } = await serve(t, { onAcceptError: error => refused.push(error) })
    await ask('GET /livez HTTP/1.0\r\n\r\n')
    const full = Object.assign(new Error('accept ENFILE'), { code: 'ENFILE' })
    server().emit('error', full)
    assert.deepEqual([refused, faults], [[full], []])
    assert.equal((await ask('GET /health HTTP/1.0\r\n\r\n')).status, 200)
  })

  test('createHttp() answers 500 when a page throws, and serves the next request', async t => {
    const throwing = () => {
      throw new Error('ours')
    }
    const { ask, faults, inFlight } = await serve(t, { pages: new Map([['/page', throwing]]) })
    assert.equal((await ask('GET /page HTTP/1.1\r\nHost: h\r\n\r\n')).status, 500)
    assert.deepEqual([faults.length, inFlight()], [1, 0])
    assert.equal((await ask('GET /health HTTP/1.0\r\n\r\n')).status, 200)
  })

  test('createHttp() drops a client whose body becomes malformed during its check, and serves the next', async t => {
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
})
