// The page and its data: what they say, which status they have, and that they allow nothing else to run.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { meanings, type Reason, sentences, type Verdict } from '../../../lib/health/verdict.ts'
import { createHistory, sustainedAfterMs } from '../../../lib/monitor/history.ts'
import { durationOf, instantOf, latencyOf, percentOf } from '../../../lib/page/format.ts'
import { html, raw } from '../../../lib/page/html.ts'
import { staleMs } from '../../../lib/page/indicator.ts'
import { pagesOf } from '../../../lib/page/page.ts'
import { columns, heightOf, pathsOf } from '../../../lib/page/plot.ts'
import { script } from '../../../lib/page/script.ts'

const healthy: Verdict = { by: 'check', result: 'healthy', queryMs: 0.9 }
const refused: Verdict = { by: 'check', result: 'unreachable', connectMs: 2 }

/** The two pages, with a history whose clock the test sets. */
function stage({ version = '0.1.0', unhealthyStatus = 503 } = {}) {
  const clock = { ms: 0, suspendedMs: 0 }
  const noon = Date.parse('2026-11-22T12:00:00Z')
  const history = createHistory({
    now: () => clock.ms,
    date: () => new Date(noon + clock.ms + clock.suspendedMs),
  })
  const pages = new Map(pagesOf({ ...history, version, unhealthyStatus }))
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

/** The text that people read: without style, script and template. */
function textOf(body: string): string {
  const words = body.replace(/<(style|script|template)\b.*?<\/\1>/gs, '').replace(/<[^>]+>/g, ' ')
  return words.replace(/[\s\u00a0]+/g, ' ')
}

test('html`` escapes every value that is not markup', () => {
  const hostile = `<script>alert("1")</script>'&`
  const escaped = '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;'
  assert.equal(html`<p title="${hostile}">${hostile}</p>`.html, `<p title="${escaped}">${escaped}</p>`)
  assert.equal(
    html`<p>${html`<b>${'<'}</b>`}${[raw('<i>'), html`&`]}${7}</p>`.html,
    '<p><b>&lt;</b><i>&7</p>',
  )
})

test('durations, latencies, percentages and times have units and sensible precision', () => {
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

describe('pathsOf()', () => {
  const bucket = (index: number, medianMs?: number, slowestMs = medianMs) => ({
    index,
    checks: 1,
    failures: medianMs === undefined ? { timeout: 1 } : {},
    ...(medianMs !== undefined && { medianMs, slowestMs: slowestMs ?? medianMs }),
  })

  test('marks each half minute with a healthy check, and with a failed one; no check, no mark', () => {
    const paths = pathsOf([bucket(0, 1), bucket(1), bucket(3), bucket(9, 1), bucket(359, 1)], 359)
    assert.equal(paths.healthy, 'M0 25h1M3 25h1M119 25h1')
    assert.equal(paths.failed, 'M0 75h2')
  })

  test('shows a single failure, which moves left one column at a time', () => {
    for (const newest of [400, 401]) assert.equal(pathsOf([bucket(400)], newest).failed, 'M119 75h1')
    assert.equal(pathsOf([bucket(400)], 402).failed, 'M118 75h1')
    assert.equal(pathsOf([bucket(400)], 402 + 3 * columns).failed, '')
  })

  test('heightOf() keeps 1 ms, 50 ms, 100 ms and 1 s apart, and everything within the chart', () => {
    const heights = [0.001, 0.5, 1, 50, 100, 1_000, 5_000, 60_000].map(heightOf)
    assert.deepEqual(heights, [0, 0, 7.5, 50, 57.5, 82.5, 100, 100])
  })

  test('leaves a gap in the line of medians without checks, and shows a median without neighbours', () => {
    const paths = pathsOf([bucket(351, 50), bucket(354, 50, 5_000), bucket(359, 5_000)], 359)
    assert.equal(paths.median, 'M117 50h0L118 50L119 0')
    assert.equal(paths.slowest, 'M117 50V50M118 50V0M119 0V0')
    assert.equal(pathsOf([bucket(351, 50), bucket(359, 50)], 359).median, 'M117 50h0M119 50h0')
  })
})

describe('the page', () => {
  test('healthy: says so, since when, how fast, and how much of the hour', () => {
    const { after, clock, reply, text } = stage()
    for (let check = 0; check < 100; check += 1) after(5, healthy)
    clock.ms += 2_000
    assert.match(reply('/').body, /<title>✓ Healthy · pg-health<\/title>.*<body data-indicator="healthy">/s)
    assert.match(text(), /Healthy For 8 min 17 s , since 12:00:05 UTC .*Check now/)
    assert.match(text(), /Last check 2\.0 s ago, took 0\.9 ms /)
    assert.match(text(), /Healthy 100 % of 100 checks Latency typically 0\.9 ms , slowest 0\.9 ms /)
    assert.match(text(), /12:00:05 UTC ✓ healthy \(first result\) 8 min 17 s so far/)
    assert.match(text(), /pg-health 0\.1\.0, up 8 min 22 s\. Updated 12:08:22 UTC \./)
  })

  for (const [reason, sentence] of Object.entries(sentences)) {
    test(`unhealthy, ${reason}: the sentence and what it means`, () => {
      const { after, reply, text } = stage()
      after(5, healthy)
      after(5, { by: 'check', result: reason as Reason, connectMs: 12 })
      assert.match(
        reply('/').body,
        /<title>✗ Unhealthy · pg-health<\/title>.*<body data-indicator="unhealthy">/s,
      )
      const verdict = `Unhealthy ${sentence} : ${meanings[reason as Reason]} Just failed : less than 2 minutes ago`
      assert.ok(text().includes(verdict), text())
      assert.match(text(), /Last check 0\.0 s ago, failed after 12 ms Healthy 50 % of 2 checks/)
      assert.ok(text().includes(`Failed 1 × ${sentence}`))
      assert.ok(text().includes(`12:00:10 UTC ✗ ${sentence} 0.0 s so far`))
    })
  }

  test('a check that was still running when its requests timed out has no duration', () => {
    const { after, reply, text } = stage()
    after(5, { by: 'deadline', result: 'timeout' })
    assert.match(text(), /Last check 0\.0 s ago, timed out while it was running Healthy/)
    const at = '2026-11-22T12:00:05.000Z'
    assert.deepEqual(JSON.parse(reply('/history').body).last, { result: 'timeout', at, agoMs: 0 })
  })

  test('flapping: intermittent and how often, whether healthy or unhealthy', () => {
    const { after, reply, text } = stage()
    for (let round = 0; round < 3; round += 1) {
      after(5, healthy)
      after(5, refused)
    }
    assert.match(reply('/').body, /<body data-indicator="unhealthy">/)
    assert.match(text(), /Intermittent : 5 changes in 15 minutes/)
    after(5, healthy)
    assert.match(
      reply('/').body,
      /<title>! Healthy · pg-health<\/title>.*<body data-indicator="intermittent">/s,
    )
    assert.match(text(), /Healthy Intermittent : 6 changes in 15 minutes/)
  })

  test('a failure of two minutes is sustained; after flapping the page says both', () => {
    const { after, clock, text } = stage()
    after(5, healthy)
    after(5, refused)
    after(sustainedAfterMs / 1000 - 0.001, refused)
    assert.match(text(), / Just failed : less than 2 minutes ago /)
    after(0.001, refused)
    assert.match(
      text(),
      /Unhealthy database unreachable : [^:]+ Sustained : for more than 2 minutes For 2 min 0 s/,
    )
    after(1, healthy)
    after(1, refused)
    assert.match(text(), /Unhealthy database unreachable : [^:]+ Intermittent : 3 changes in 15 minutes For/)
    after(sustainedAfterMs / 1000, refused)
    assert.match(
      text(),
      / Sustained : for more than 2 minutes Intermittent before : 3 changes in 15 minutes For/,
    )
    clock.ms += staleMs + 1
    assert.doesNotMatch(text(), /Sustained|Intermittent|Just failed/, 'of an old verdict nothing is said')
  })

  test('no check for a minute: says what was, and since when there was no check', () => {
    for (const [verdict, word] of [
      [healthy, 'Was healthy'],
      [refused, 'Was unhealthy'],
    ] as const) {
      const { after, clock, reply, text } = stage()
      after(5, verdict)
      clock.ms += staleMs
      assert.doesNotMatch(text(), /Was /)
      clock.ms += 1
      assert.match(reply('/').body, new RegExp(`<title>\\? ${word} · .*<body data-indicator="unknown">`, 's'))
      assert.match(text(), /No check for 1 min 0 s , since 12:00:05 UTC/)
    }
  })

  test('before the first check: not known yet', () => {
    const { text } = stage()
    assert.match(
      text(),
      /Not known yet No check has finished since pg-health started .*Last check none Healthy no checks/,
    )
  })

  test('a check above 50 ms or 100 ms: says so', () => {
    for (const [queryMs, words] of [
      [50, '50 ms Healthy'],
      [51, '51 ms , above 50 ms'],
      [101, '101 ms , above 100 ms'],
    ] as const) {
      const { after, text } = stage()
      after(5, { by: 'check', result: 'healthy', queryMs })
      assert.ok(text().includes(`took ${words}`), text())
    }
  })

  test('the policy allows only the style and the script of the page, by their hashes', () => {
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
    assert.doesNotMatch(body, /transition|animation|@keyframes/, 'no animation')
  })

  test('a version with markup in it is shown as text', () => {
    const { reply } = stage({ version: '<script>alert(1)</script>' })
    assert.match(reply('/').body, /pg-health &lt;script&gt;alert\(1\)&lt;\/script&gt;, up/)
  })
})

describe('the status of /', () => {
  const statuses = (pages: ReturnType<typeof stage>) =>
    ['/', '/history'].map(path => pages.reply(path).status)

  test('is 200 while the last verdict is healthy, and the unhealthy status while it is not', () => {
    for (const unhealthyStatus of [503, 200, 599]) {
      const pages = stage({ unhealthyStatus })
      pages.after(1, healthy)
      assert.deepEqual(statuses(pages), [200, 200])
      for (const reason of Object.keys(sentences) as Reason[]) {
        pages.after(1, { by: 'deadline', result: reason })
        assert.deepEqual(statuses(pages), [unhealthyStatus, 200], reason)
      }
      pages.after(1, healthy)
      assert.deepEqual(statuses(pages), [200, 200], 'intermittent is healthy')
    }
  })

  test('is the unhealthy status before the first check', () => {
    assert.deepEqual(statuses(stage()), [503, 200])
  })

  test('is the unhealthy status without a check for a minute: a balancer that asks only / starts none', () => {
    const pages = stage()
    pages.after(1, healthy)
    pages.clock.ms += staleMs
    assert.deepEqual(statuses(pages), [200, 200])
    pages.clock.ms += 1
    assert.deepEqual(statuses(pages), [503, 200])
    pages.after(0, healthy)
    assert.deepEqual(statuses(pages), [200, 200])
  })

  test('is the unhealthy status after a suspend', () => {
    const pages = stage()
    pages.after(1, healthy)
    pages.clock.suspendedMs = 8 * 3_600_000
    assert.deepEqual(statuses(pages), [503, 200])
    assert.match(pages.text(), /Was healthy No check for 8 h 0 min , since 12:00:01 UTC/)
  })
})

test('/history: the same as JSON', () => {
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
    nature: 'recent',
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

test('the largest page there can be is at most 30 kB', () => {
  const { after, reply } = stage({ version: '10.20.30-beta.40' })
  const reasons = Object.keys(sentences) as Reason[]
  for (let half = 0; half < 150; half += 1) {
    // Every other half minute fails in every possible way, and the medians jump from the bottom to the top.
    if (half % 2) for (const result of reasons) after(2, { by: 'check', result, queryMs: 1_999 })
    else
      for (let check = 0; check < 2; check += 1)
        after(17, { by: 'check', result: 'healthy', queryMs: half % 4 ? 0.5 : 59_999 })
  }
  const bytes = Buffer.byteLength(reply('/').body)
  assert.ok(bytes <= 30_000, `${bytes} bytes`)
})

test('the script is formatted, passes the linter as a file, and uses no name it does not define', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-script-'))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'script.js'), script.trimStart())
  const run = (...args: string[]) =>
    promisify(execFile)(
      'npx',
      ['biome', ...args, '--error-on-warnings', '--config-path=biome.json', folder],
      {
        cwd: fileURLToPath(new URL('../../../', import.meta.url)),
      },
    )
  await run('check')
  await run('lint', '--only=correctness/noUndeclaredVariables')
})
