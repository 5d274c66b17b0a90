// Clients that send half a request, or nothing, are answered 408 and closed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { neverCalled, serve } from '../support/http.ts'

// Six seconds with our settings. More than twenty mean that Node's own 30 s are in effect.
test('createHttp() answers 408 to headers that do not end, and to a silent client', {
  timeout: 20_000,
}, async t => {
  const { connect, refused } = await serve(t, { check: neverCalled })
  const clients = await Promise.all([connect(), connect(), connect()])
  clients[1]?.socket.write('GET /hea')
  clients[2]?.socket.write('GET /health HTTP/1.1\r\nHost: h\r\nX-Slow: ')
  for (const reply of await Promise.all(clients.map(client => client.rest()))) {
    assert.equal(reply.status, 408)
    assert.equal(reply.headers['connection'], 'close')
  }
  assert.deepEqual(refused, [408, 408, 408])
})
