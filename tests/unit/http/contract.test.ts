// The contract of the endpoint, on real sockets: status, body, headers and timings.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { repliesOf } from '../../../lib/health/reply.ts'
import { sentences, type Verdict } from '../../../lib/health/verdict.ts'
import {
  answering,
  assertHeaders,
  type Check,
  neverCalled,
  serve,
  steadyHeadersOf,
} from '../../support/http.ts'

interface Row {
  readonly target: string
  readonly verdict?: Verdict
  readonly status: number
  readonly body: string
}

const contract: Row[] = [
  ...['/health', '/health/', '/readyz', '/readyz/', '/health?x=/y', 'http://h/health'].map(target => ({
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
  { target: '/livez/', status: 200, body: '{"status": "alive"}' },
  { target: '/', status: 404, body: '{"error": "not found"}' },
  { target: '//health', status: 404, body: '{"error": "not found"}' },
]

describe('createHttp()', { concurrency: true }, () => {
  for (const { target, verdict, status, body } of contract) {
    const name = `${target}${verdict ? ` when ${verdict.result}` : ''}`

    test(`${name}: ${status} ${body}; HEAD and OPTIONS as GET, without the body`, async t => {
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

  test('every other method: 405 with the methods that are allowed, without a check', async t => {
    const { ask } = await serve(t, { check: neverCalled })
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND']) {
      const reply = await ask(`${method} /health HTTP/1.1\r\nHost: h\r\n\r\n`)
      assert.equal(reply.status, 405, method)
      assert.equal(reply.body, '{"error": "method not allowed"}')
      assert.equal(reply.headers['allow'], 'GET, HEAD, OPTIONS')
      assertHeaders(reply, 31)
    }
  })

  test('createHttp() answers unhealthy with the status of its replies', async t => {
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
      'wait;dur=0, query;dur=0.46, total;dur=0.46',
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
    [{ by: 'deadline', result: 'timeout' }, 1995.004, 1995.006, '1995', 'wait;dur=1995, total;dur=1995.01'],
  ]
  for (const [verdict, waitMs, passedMs, time, timing] of timings) {
    test(`createHttp() reports durations: x-process-time-ms ${time}, server-timing ${timing}`, async t => {
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

  test('createHttp() reports the durations of each check, not of the one before', async t => {
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

  test('onAnswer() gets path, status and duration of every response; the path is one of a closed list', async t => {
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

  test('createHttp() sends a page with its own type and headers, and its length in bytes', async t => {
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
})
