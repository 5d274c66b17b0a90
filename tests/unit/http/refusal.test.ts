// Requests that HTTP checkers send and must be answered, and bad input that must be refused.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { held, neverCalled, serve } from '../../support/http.ts'

describe('createHttp()', { concurrency: true }, () => {
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
    test(`createHttp() answers 400 to ${name}, closes, and runs no check`, async t => {
      const { ask, refused } = await serve(t, { check: neverCalled })
      const reply = await ask(`POST /health HTTP/1.1\r\nHost: h\r\n${head}\r\n`)
      assert.equal(reply.status, 400)
      assert.equal(reply.headers['connection'], 'close')
      assert.deepEqual(refused, [400])
    })
  }

  const lines: [name: string, bytes: string][] = [
    ['a backslash in the target', 'GET \\health HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['a NUL in the target', 'GET /he\0alth HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['no target', 'GET  HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['what is not HTTP', 'hello\r\n\r\n'],
    ['lines that end with a bare LF', 'GET /health HTTP/1.1\nHost: h\n\n'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a PROXY protocol header', 'PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /health HTTP/1.1\r\n\r\n'],
    ['half a request and the end of the connection', 'GET /hea'],
  ]
  for (const [name, bytes] of lines) {
    test(`createHttp() answers 400 to ${name}, closes, and runs no check`, async t => {
      const { connect, refused } = await serve(t, { check: neverCalled })
      const client = await connect()
      client.socket.end(bytes, 'latin1')
      assert.equal((await client.rest()).status, 400)
      assert.deepEqual(refused, [400])
    })
  }

  for (const head of [
    'GET /health HTTP/1.1\r\n',
    'OPTIONS /health HTTP/1.1\r\n',
    'GET /health HTTP/1.0\r\n',
  ]) {
    test(`createHttp() answers "${head.trim()}" without Host, as HAProxy sends it`, async t => {
      const { ask, refused } = await serve(t)
      assert.equal((await ask(`${head}Connection: close\r\n\r\n`)).status, 200)
      assert.deepEqual(refused, [])
    })
  }

  test('createHttp() answers 431 to 33 KiB of headers, and 200 to 31', async t => {
    const { ask, refused } = await serve(t)
    const headOf = (bytes: number) => `GET /health HTTP/1.0\r\nX-Long: ${'x'.repeat(bytes)}\r\n\r\n`
    assert.equal((await ask(headOf(31 * 1024))).status, 200)
    assert.equal((await ask(headOf(33 * 1024))).status, 431)
    assert.deepEqual(refused, [431])
  })

  test('onRefused() gets 413 for chunk extensions above 16 KiB', async t => {
    const { check, called } = held()
    const { connect, refused } = await serve(t, { check })
    const client = await connect()
    client.socket.write('GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n')
    await called
    client.socket.write(`1;${'x'.repeat(20 * 1024)}\r\na\r\n`)
    assert.equal((await client.rest()).status, 413)
    assert.deepEqual(refused, [413])
  })

  test('onRefused() is not called when a client resets its connection', async t => {
    const { check, called } = held()
    const { connect, refused } = await serve(t, { check })
    const client = await connect()
    client.socket.write('GET /health HTTP/1.1\r\n\r\n')
    await called
    await client.reset()
    assert.deepEqual(refused, [])
  })
})
