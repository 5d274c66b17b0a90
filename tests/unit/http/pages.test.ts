// Pages are rendered once per turn of the event loop.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPages } from '../../../lib/http/pages.ts'
import { neverCalled, serve } from '../../support/http.ts'

describe('createPages()', { concurrency: true }, () => {
  test('createPages() renders a page once for all requests of one turn, and again for later ones', async t => {
    let made = 0
    const render = () => {
      made += 1
      return { status: 200, body: `${made}` }
    }
    const { connect } = await serve(t, { pages: createPages([['/page', render]]), check: neverCalled })
    const client = await connect()
    const bodies: string[] = []
    for (const count of [10, 1]) {
      client.socket.write('GET /page HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(count))
      for (let reply = 0; reply < count; reply += 1) bodies.push((await client.reply()).body)
    }
    assert.deepEqual(bodies, [...Array(10).fill('1'), '2'])
  })
})
