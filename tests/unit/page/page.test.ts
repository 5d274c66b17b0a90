// The page and its data: right without a browser, closed to strangers, and never a burden to the database.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import { meanings, type Reason, sentences, type Verdict } from '../../../lib/health/verdict.ts'
import { createHistory } from '../../../lib/monitor/history.ts'
import { chartOf, columns, heightOf } from '../../../lib/page/chart.ts'
import { durationOf, instantOf, latencyOf, percentOf } from '../../../lib/page/format.ts'
import { html, raw } from '../../../lib/page/html.ts'
import { pagesOf, staleMs } from '../../../lib/page/page.ts'
import { openPostgres, type Postgres } from '../../support/postgres.ts'
import { openProxy } from '../../support/proxy.ts'
import { ask, startServer } from '../../support/server.ts'

const healthy: Verdict = { by: 'check', result: 'healthy', queryMs: 0.9 }
const refused: Verdict = { by: 'check', result: 'unreachable', connectMs: 2 }

/** The two pages on a history with the test's own clock. */
function stage(version = '0.1.0') {
  const clock = { ms: 0 }
  const noon = Date.parse('2026-11-22T12:00:00Z')
  const history = createHistory({ now: () => clock.ms, date: () => new Date(noon + clock.ms) })
  const pages = new Map(pagesOf({ ...history, version }))
  return { after, clock, reply, text: () => textOf(reply('/').body) }

  function after(seconds: number, verdict: Verdict) {
    clock.ms += seconds * 1_000
    history.observe(verdict)
  }

  function reply(path: string) {
    const render = pages.get(path)
    assert.ok(render)
    return render()
  }
}

/** What there is to read, and nothing of style, script and template. */
function textOf(body: string): string {
  const words = body.replace(/<(style|script|template)\b.*?<\/\1>/gs, '').replace(/<[^>]+>/g, ' ')
  return words.replace(/[\s\u00a0]+/g, ' ')
}

test('html`` escapes every value, and keeps what is markup already', () => {
  const hostile = `<script>alert("1")</script>'&`
  const escaped = '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;'
  assert.equal(html`<p title="${hostile}">${hostile}</p>`.html, `<p title="${escaped}">${escaped}</p>`)
  assert.equal(
    html`<p>${html`<b>${'<'}</b>`}${[raw('<i>'), html`&`]}${7}</p>`.html,
    '<p><b>&lt;</b><i>&7</p>',
  )
})

test('durations, latencies, shares and instants are written as people read them', () => {
  const durations = [0, 9_949, 9_950, 59_499, 59_500, 312_000, 3_600_000, 11_520_000, 86_400_000, 183_600_000]
  const plain = (text: string) => text.replaceAll('\u00a0', ' ')
  assert.deepEqual(
    durations.map(ms => plain(durationOf(ms))),
    [
      '0.0 s',
      '9.9 s',
      '10 s',
      '59 s',
      '1 min 0 s',
      '5 min 12 s',
      '1 h 0 min',
      '3 h 12 min',
      '1 d 0 h',
      '2 d 3 h',
    ],
  )
  assert.deepEqual([0.04, 9.94, 9.95, 312.4].map(latencyOf).map(plain), [
    '0.0 ms',
    '9.9 ms',
    '10 ms',
    '312 ms',
  ])
  assert.deepEqual([percentOf(99_999, 100_000), percentOf(5, 5)].map(plain), ['99.9 %', '100 %'], 'never up')
  const today = new Date('2026-11-22T00:00:00Z')
  assert.equal(instantOf(new Date('2026-11-22T14:03:22.9Z'), today), '14:03:22 UTC')
  assert.equal(instantOf(new Date('2026-11-21T23:59:59.9Z'), today), '2026-11-21 23:59:59 UTC')
})

describe('chartOf()', () => {
  const bucket = (index: number, medianMs?: number, slowestMs = medianMs) => ({
    index,
    checks: 1,
    failures: medianMs === undefined ? { timeout: 1 } : {},
    ...(medianMs !== undefined && { medianMs, slowestMs: slowestMs ?? medianMs }),
  })

  test('marks half minutes with a healthy check, and with one that failed; where nobody asked neither', () => {
    const chart = chartOf([bucket(0, 1), bucket(1), bucket(3), bucket(9, 1), bucket(359, 1)], 359)
    assert.equal(chart.healthy, 'M0 25h1M3 25h1M119 25h1')
    assert.equal(chart.failed, 'M0 75h2')
  })

  test('one failure of ten seconds shows, and moves to the left a column at a time', () => {
    for (const newest of [400, 401]) assert.equal(chartOf([bucket(400)], newest).failed, 'M119 75h1')
    assert.equal(chartOf([bucket(400)], 402).failed, 'M118 75h1')
    assert.equal(chartOf([bucket(400)], 402 + 3 * columns).failed, '')
  })

  test('draws 1 ms, the documented limits and 1 s well apart, and keeps the rest inside', () => {
    const heights = [0.001, 0.5, 1, 50, 100, 1_000, 5_000, 60_000].map(heightOf)
    assert.deepEqual(heights, [0, 0, 7.5, 50, 57.5, 82.5, 100, 100])
  })

  test('breaks the line of medians where nobody asked, and shows one that stands alone', () => {
    const chart = chartOf([bucket(351, 50), bucket(354, 50, 5_000), bucket(359, 5_000)], 359)
    assert.equal(chart.median, 'M117 50h0L118 50L119 0')
    assert.equal(chart.slowest, 'M117 50V50M118 50V0M119 0V0')
    assert.equal(chartOf([bucket(351, 50), bucket(359, 50)], 359).median, 'M117 50h0M119 50h0')
  })
})

describe('the page', () => {
  test('healthy: the word, since when, how fast, and how much of the hour', () => {
    const { after, clock, reply, text } = stage()
    for (let check = 0; check < 100; check += 1) after(5, healthy)
    clock.ms += 2_000
    assert.match(reply('/').body, /<title>✓ Healthy · pg-health<\/title>.*<body data-look="healthy">/s)
    assert.match(text(), /Healthy For 8 min 17 s , since 12:00:05 UTC .*Ask now/)
    assert.match(text(), /Last check 2\.0 s ago, the check took 0\.9 ms /)
    assert.match(text(), /Healthy 100 % of 100 checks Latency typically 0\.9 ms , slowest 0\.9 ms /)
    assert.match(text(), /12:00:05 UTC ✓ healthy \(first result\) 8 min 17 s so far/)
    assert.match(text(), /pg-health 0\.1\.0, up 8 min 22 s\. As of 12:08:22 UTC \./)
  })

  for (const [reason, sentence] of Object.entries(sentences)) {
    test(`unhealthy, ${reason}: the sentence and what it means`, () => {
      const { after, reply, text } = stage()
      after(5, healthy)
      after(5, { by: 'check', result: reason as Reason, connectMs: 12 })
      assert.match(reply('/').body, /<title>✗ Unhealthy · pg-health<\/title>.*<body data-look="unhealthy">/s)
      const verdict = `Unhealthy ${sentence} : ${meanings[reason as Reason]} Sustained : it has not come back`
      assert.ok(text().includes(verdict), text())
      assert.match(text(), /Last check 0\.0 s ago, failed after 12 ms Healthy 50 % of 2 checks/)
      assert.ok(text().includes(`Failed 1 × ${sentence}`))
      assert.ok(text().includes(`12:00:10 UTC ✗ ${sentence} 0.0 s so far`))
    })
  }

  test('a check that goes on when the time of its requests is up has no duration, here and in /history', () => {
    const { after, reply, text } = stage()
    after(5, { by: 'deadline', result: 'timeout' })
    assert.match(text(), /Last check 0\.0 s ago, had not ended in time Healthy/)
    const at = '2026-11-22T12:00:05.000Z'
    assert.deepEqual(JSON.parse(reply('/history').body).last, { result: 'timeout', at, agoMs: 0 })
  })

  test('flapping: intermittent and how often, while it is up as while it is down', () => {
    const { after, reply, text } = stage()
    for (let round = 0; round < 3; round += 1) {
      after(5, healthy)
      after(5, refused)
    }
    assert.match(reply('/').body, /<body data-look="unhealthy">/)
    assert.match(text(), /Intermittent : 5 changes within 15 minutes/)
    after(5, healthy)
    assert.match(reply('/').body, /<title>! Healthy · pg-health<\/title>.*<body data-look="intermittent">/s)
    assert.match(text(), /Healthy Intermittent : 6 changes within 15 minutes/)
  })

  test('nobody asks: after a minute it says what was, and since when nobody knows', () => {
    for (const [verdict, word] of [
      [healthy, 'Was healthy'],
      [refused, 'Was unhealthy'],
    ] as const) {
      const { after, clock, reply, text } = stage()
      after(5, verdict)
      clock.ms += staleMs
      assert.doesNotMatch(text(), /Was /)
      clock.ms += 1
      assert.match(reply('/').body, new RegExp(`<title>\\? ${word} · .*<body data-look="unknown">`, 's'))
      assert.match(text(), /Nobody has asked for 1 min 0 s , since 12:00:05 UTC/)
    }
  })

  test('before the first check: not known yet', () => {
    const { text } = stage()
    assert.match(
      text(),
      /Not known yet No check has ended since the start .*Last check none Healthy nobody asked/,
    )
  })

  test('a check above 50 ms or 100 ms is called so', () => {
    for (const [queryMs, words] of [
      [50, '50 ms Healthy'],
      [51, '51 ms , above 50 ms'],
      [101, '101 ms , above 100 ms'],
    ] as const) {
      const { after, text } = stage()
      after(5, { by: 'check', result: 'healthy', queryMs })
      assert.ok(text().includes(`the check took ${words}`), text())
    }
  })

  test('runs its own style and script and nothing else: the policy has their hashes, and there is no other', () => {
    const { reply } = stage()
    const { body, headers = [], contentType } = reply('/')
    const hashOf = (tag: string) => {
      const found = [...body.matchAll(new RegExp(`<${tag}\\b[^>]*>(.*?)</${tag}>`, 'gs'))]
      assert.equal(found.length, 1)
      return `'sha256-${createHash('sha256')
        .update(found[0]?.[1] ?? '')
        .digest('base64')}'`
    }
    assert.equal(contentType, 'text/html; charset=utf-8')
    assert.deepEqual(headers, [
      'content-security-policy',
      `default-src 'none'; style-src ${hashOf('style')}; script-src ${hashOf('script')}; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
      'x-frame-options',
      'DENY',
      'x-content-type-options',
      'nosniff',
      'referrer-policy',
      'no-referrer',
    ])
    assert.doesNotMatch(body, /\s(on\w+|style)=|(src|href)="(?!data:image\/svg|health"|metrics"|history")/)
    assert.doesNotMatch(body, /transition|animation|@keyframes/, 'nothing moves')
  })

  test('a hostile version is text', () => {
    const { reply } = stage('<script>alert(1)</script>')
    assert.match(reply('/').body, /pg-health &lt;script&gt;alert\(1\)&lt;\/script&gt;, up/)
  })
})

test('/history is the same as JSON, and never more than a reader can take', () => {
  const { after, reply } = stage()
  after(5, healthy)
  after(5, refused)
  const { body, contentType } = reply('/history')
  assert.equal(contentType, 'application/json', 'JSON')
  assert.deepEqual(JSON.parse(body), {
    version: '0.1.0',
    at: '2026-11-22T12:00:10.000Z',
    uptimeMs: 10_000,
    last: { result: 'unreachable', at: '2026-11-22T12:00:10.000Z', agoMs: 0, checkMs: 2 },
    nature: 'sustained',
    recentChanges: 1,
    changes: [
      {
        at: '2026-11-22T12:00:10.000Z',
        state: 'unhealthy',
        reasons: ['unreachable'],
        heldMs: 0,
        first: false,
      },
      { at: '2026-11-22T12:00:05.000Z', state: 'healthy', reasons: [], heldMs: 5_000, first: true },
    ],
    buckets: [
      { at: '2026-11-22T12:00:00.000Z', index: 0, checks: 1, failures: {}, medianMs: 0.9, slowestMs: 0.9 },
      { at: '2026-11-22T12:00:10.000Z', index: 1, checks: 1, failures: { unreachable: 1 } },
    ],
  })
})

test('the worst hour there can be makes a page of at most 13.4 kB: 14 kB with its headers', () => {
  const { after, reply } = stage('10.20.30-beta.40')
  const reasons = Object.keys(sentences) as Reason[]
  for (let half = 0; half < 150; half += 1) {
    // Every other half minute fails, in every way there is, and the medians jump from the bottom to the top.
    if (half % 2) for (const result of reasons) after(2, { result, by: 'check', queryMs: 1_999 })
    else
      for (let check = 0; check < 2; check += 1)
        after(17, { by: 'check', result: 'healthy', queryMs: half % 4 ? 0.5 : 59_999 })
  }
  const bytes = Buffer.byteLength(reply('/').body)
  assert.ok(bytes <= 13_400, `${bytes} bytes`)
})

describe('the program', () => {
  let postgres: Postgres
  before(async () => {
    postgres = await openPostgres()
  })
  after(() => postgres.close())

  async function start(t: TestContext, settings: Record<string, string> = {}) {
    const server = await startServer({ DATABASE_URL: postgres.url, ...settings })
    t.after(() => server.stop('SIGKILL'))
    await server.event('healthy')
    return server
  }

  test('opening the pages asks the database nothing', async t => {
    const proxy = await openProxy(postgres.port)
    const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`
    const { origin } = await start(t, { DATABASE_URL: url })
    t.after(() => proxy.close())
    const count = proxy.statements.length
    for (let round = 0; round < 20; round += 1) {
      for (const path of ['/', '/history']) assert.equal((await ask(origin + path)).status, 200)
    }
    assert.equal(proxy.statements.length, count)
    await ask(`${origin}/health`)
    assert.equal(proxy.statements.length, count + 1)
  })

  test('what the checks found is on the page, of the same moment as in the log', async t => {
    const { origin, event } = await start(t)
    await postgres.stop()
    t.after(() => postgres.start())
    await ask(`${origin}/health`)
    const { time, reason } = await event('unhealthy')
    const { changes } = JSON.parse((await ask(`${origin}/history`)).body)
    assert.deepEqual(changes[0].reasons, [reason])
    assert.ok(Math.abs(Date.parse(changes[0].at) - Date.parse(String(time))) < 1_000)
    assert.match((await ask(`${origin}/`)).body, /<h1>Unhealthy<\/h1><p><b>database unreachable<\/b>/)
  })

  test('GET and HEAD on the pages, 405 for the rest, with the headers of every answer', async t => {
    const { origin } = await start(t)
    for (const path of ['/', '/history']) {
      const get = await ask(origin + path)
      const head = await ask(origin + path, { method: 'HEAD' })
      assert.deepEqual([get.status, head.status, head.body], [200, 200, ''])
      for (const { headers } of [get, head]) {
        assert.equal(headers['cache-control'], 'no-store')
        assert.equal(headers['content-type'], path === '/' ? 'text/html; charset=utf-8' : 'application/json')
        assert.match(String(headers['x-process-time-ms']), /^\d+$/)
        assert.match(String(headers['server-timing']), /^total;dur=[\d.]+$/)
        assert.match(String(headers['content-security-policy']), /^default-src 'none'; /)
      }
      assert.equal(get.headers['content-length'], String(Buffer.byteLength(get.body)))
      for (const method of ['POST', 'OPTIONS'])
        assert.equal((await ask(origin + path, { method })).status, 405)
    }
  })

  test('nothing in a request changes the page: not its query, not Accept, not Host', async t => {
    const { origin } = await start(t)
    // The clock goes on between two requests.
    const steady = (body: string) => body.replace(/\d+/g, '')
    const plain = await ask(`${origin}/`)
    for (const path of ['/?', '/?x=<script>', '/?details=off', `/?${'a'.repeat(4_000)}`]) {
      const { status, body } = await ask(origin + path)
      assert.deepEqual([status, steady(body)], [200, steady(plain.body)])
    }
    const hostile = [
      { accept: 'application/json' },
      { accept: '<script>' },
      { 'accept-encoding': 'gzip, br', 'accept-language': 'de' },
      { host: '"><script>alert(1)</script>' },
      { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-prefix': '//evil.example' },
    ]
    for (const headers of hostile) {
      const answer = await ask(`${origin}/`, { headers })
      assert.deepEqual(
        [answer.status, steady(answer.body)],
        [200, steady(plain.body)],
        JSON.stringify(headers),
      )
      assert.deepEqual(Object.keys(answer.headers), Object.keys(plain.headers))
    }
  })

  test('HEALTH_DETAILS=off: /, /history and /metrics are not found, and say nothing; /health stays', async t => {
    const { origin } = await start(t, { HEALTH_DETAILS: 'off' })
    for (const path of ['/', '/?x', '/history', '/metrics']) {
      for (const method of ['GET', 'HEAD', 'POST']) {
        const { status, headers, body } = await ask(origin + path, { method })
        assert.deepEqual([status, headers['content-type']], [404, 'application/json'])
        assert.equal(headers['content-security-policy'], undefined)
        assert.equal(body, method === 'HEAD' ? '' : '{"error": "not found"}')
      }
    }
    assert.equal((await ask(`${origin}/health`)).status, 200)
  })

  test('the whole answer to a first look fits into 14 kB, headers included', async t => {
    const { origin } = await start(t)
    const socket = net.connect(Number(new URL(origin).port), '127.0.0.1')
    socket.end('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
    let bytes = 0
    let head = 0
    socket.on('data', chunk => {
      if (bytes === 0) head = chunk.indexOf('\r\n\r\n') + 4
      bytes += chunk.length
    })
    await once(socket, 'close')
    assert.ok(bytes > 5_000 && bytes < 14_000, `${bytes} bytes`)
    assert.ok(head <= 600, `${head} bytes of headers`)
  })
})
