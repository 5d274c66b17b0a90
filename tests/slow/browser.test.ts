// The page in a real browser, as the person on call sees it.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { Reason, Verdict } from '../../lib/health/verdict.ts'
import { openBrowser, openPage, openStage, type Page, type Stage } from '../support/browser.ts'
import { openPostgres } from '../support/postgres.ts'
import { ask, startServer } from '../support/server.ts'

/** Generous, for a busy machine. */
const timeout = 60_000

/** What the page shows: an hour with a check every five seconds. */
const scenes: Record<string, (stage: Stage) => void> = {
  healthy(stage) {
    hour(stage, 420)
    fail(stage, 3, 'unreachable')
    fail(stage, 1, 'starting_up')
    hour(stage, 296)
    stage.pass(2_000)
  },
  unhealthy(stage) {
    hour(stage, 620)
    fail(stage, 100, 'connect_timeout')
    stage.pass(3_000)
  },
  'just failed'(stage) {
    hour(stage, 719)
    fail(stage, 1, 'unreachable')
  },
  flapping(stage) {
    hour(stage, 650)
    for (let round = 0; round < 4; round += 1) {
      fail(stage, 8, 'connection_lost')
      hour(stage, 9)
    }
  },
  'no check for a while'(stage) {
    hour(stage, 500)
    stage.pass(12 * 60_000)
  },
  'just started'(stage) {
    stage.pass(500)
  },
}

function hour(stage: Stage, checks: number) {
  for (let check = 0; check < checks; check += 1) {
    const queryMs = 0.8 + ((check * 7_919) % 100) / 150 + (check % 97 === 60 ? 70 : 0)
    stage.check(5_000, { by: 'check', result: 'healthy', queryMs })
  }
}

function fail(stage: Stage, checks: number, result: Reason) {
  for (let check = 0; check < checks; check += 1)
    stage.check(5_000, { by: 'check', result, connectMs: 1_993 })
}

/** Ways in which the page gets no answer from pg-health. */
const outages: Record<string, (page: Page, stage: Stage) => Promise<void>> = {
  'the server is gone': (_, stage) => stage.close(),
  async 'a proxy answers 502 with a page of its own'(page, stage) {
    const body = '<!doctype html><title>502</title><style>a {}</style><script>1</script><h1>Bad Gateway</h1>'
    await page.route(stage.url, route => route.fulfill({ status: 502, contentType: 'text/html', body }))
  },
}

const narrow = { width: 320, height: 640 }

// The scripts that these tests run in the browser are strings: TypeScript knows no document here.

/** Resolves when the title begins with these words. */
function titled(page: Page, words: string) {
  return page.locator(`xpath=//title[starts-with(., "${words}")]`).waitFor({ state: 'attached', timeout })
}

/** Fires the timer of the page; resolves when the page shows the answer. */
async function refresh(page: Page) {
  const before = (await page.textContent('#foot')) ?? ''
  await page.clock.runFor(5_000)
  await page.locator('#foot').filter({ hasNotText: before }).waitFor({ timeout })
}

/** Fails if axe-core finds a violation, or did not look at the contrast. */
async function assertAccessible(page: Page) {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  // Not as an element: the page would take it for a new version of its script and reload.
  await page.evaluate(axe)
  const { violations, passes } = (await page.evaluate('axe.run()')) as Record<string, { id: string }[]>
  assert.deepEqual(violations, [])
  assert.ok(passes?.some(({ id }) => id === 'color-contrast'))
}

async function assertNothingCutOff(page: Page) {
  assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'))
}

describe('in Chromium', () => {
  for (const [scene, fill] of Object.entries(scenes)) {
    test(`${scene}: axe-core finds nothing, and nothing is cut off at 320 pixels`, async t => {
      const browser = await openBrowser(t)
      if (!browser) return
      const stage = await openStage(t)
      fill(stage)
      const { page } = await openPage(browser, stage.url)
      await assertAccessible(page)
      await page.setViewportSize(narrow)
      await assertNothingCutOff(page)
    })
  }

  test('axe-core finds nothing in dark colors', async t => {
    const browser = await openBrowser(t, { colorScheme: 'dark' })
    if (!browser) return
    const stage = await openStage(t)
    scenes['unhealthy']?.(stage)
    const { page } = await openPage(browser, stage.url)
    await assertAccessible(page)
  })

  test('axe-core finds nothing at 320 pixels, and dates fit, which times of another day have', async t => {
    const browser = await openBrowser(t, { viewport: narrow })
    if (!browser) return
    const stage = await openStage(t)
    scenes['flapping']?.(stage)
    const { page } = await openPage(browser, stage.url, new Date('2026-11-23T12:00:00Z'))
    assert.match((await page.textContent('#since')) ?? '', /11\/22\/2026/)
    await assertAccessible(page)
    await assertNothingCutOff(page)
  })

  test('an open page follows a real PostgreSQL that stops and starts: word, title, icon, color', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const postgres = await openPostgres()
    t.after(() => postgres.close())
    const server = await startServer({ DATABASE_URL: postgres.url })
    t.after(() => server.stop('SIGKILL'))
    await server.event('healthy')
    const { page, complaints } = await openPage(browser, server.origin)
    const state = async () => ({
      word: await page.textContent('h1'),
      indicator: await page.getAttribute('body', 'data-indicator'),
      icon: decodeURIComponent((await page.getAttribute('link', 'href')) ?? '').match(/fill='(#\w+)'/)?.[1],
      header: await page.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor"),
    })
    const healthy = { word: 'Healthy', indicator: 'healthy', icon: '#116329', header: 'rgb(17, 99, 41)' }
    assert.deepEqual(await state(), healthy)

    await postgres.stop()
    await ask(`${server.origin}/health`)
    await page.clock.runFor(5_000)
    await titled(page, '✗ Unhealthy')
    assert.deepEqual(await state(), {
      word: 'Unhealthy',
      indicator: 'unhealthy',
      icon: '#a40e26',
      header: 'rgb(164, 14, 38)',
    })
    assert.match((await page.textContent('#verdict')) ?? '', /database unreachable.*Just failed/s)

    await postgres.start()
    await ask(`${server.origin}/health`)
    await page.clock.runFor(5_000)
    await titled(page, '✓ Healthy')
    assert.deepEqual(await state(), healthy)
    assert.equal(await page.locator('#changes tr').count(), 3)
    assert.deepEqual(complaints, [])
  })

  test('flapping: amber and "intermittent" while it is healthy', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['flapping']?.(stage)
    const { page } = await openPage(browser, stage.url)
    assert.equal(await page.title(), '! Healthy · pg-health')
    const status = (await page.textContent('[role=status]')) ?? ''
    assert.match(status, /Healthy\s+Intermittent: 8 changes in 15 minutes/)
  })

  test('a page with status 503 opens, and the button, by keyboard, runs one check and shows it', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['no check for a while']?.(stage)
    const { page, complaints } = await openPage(browser, stage.url)
    assert.equal((await ask(stage.url)).status, 503)
    assert.equal(await page.textContent('h1'), 'Was healthy')
    assert.match((await page.textContent('#since')) ?? '', /^No check for 12\smin/)
    assert.equal(stage.asked('/health'), 0)
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await titled(page, '✓ Healthy')
    assert.equal(stage.asked('/health'), 1)
    assert.match((await page.textContent('output')) ?? '', /^200: healthy, \d+ ms$/)
    assert.equal(await page.evaluate('document.activeElement.tagName'), 'BUTTON')
    assert.ok(page.url().endsWith('/'))

    stage.next({ by: 'deadline', result: 'auth_failed' } as Verdict)
    await page.keyboard.press('Enter')
    await titled(page, '✗ Unhealthy')
    assert.match((await page.textContent('output')) ?? '', /^503: database authentication failed, \d+ ms$/)
    assert.deepEqual(complaints, [])
  })

  test('a refresh replaces what differs and nothing else: focus stays, and so do the elements', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['healthy']?.(stage)
    const { page, complaints } = await openPage(browser, stage.url)
    await page.focus('a[href=history]')
    await page.evaluate("for (const each of document.querySelectorAll('*')) each.known = true")
    stage.check(1_000, { by: 'check', result: 'healthy', queryMs: 1 })
    await refresh(page)
    assert.match((await page.textContent('#facts')) ?? '', /0\.0\ss ago, took 1\.0\sms/)
    const replaced = await page.evaluate<string[]>(
      "[...document.querySelectorAll('body *')].filter(each => !each.known).map(each => each.closest('[id]')?.id)",
    )
    const changed = new Set(replaced)
    assert.ok(changed.has('facts') && changed.has('since'), 'they have durations')
    for (const id of ['verdict', 'availability', 'title', undefined])
      assert.ok(!changed.has(id as string), String(id))
    assert.equal(await page.evaluate("document.activeElement.getAttribute('href')"), 'history')
    assert.deepEqual(complaints, [])
  })

  test('it refreshes itself every five seconds, and when its tab is shown; it never asks /health', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['unhealthy']?.(stage)
    const { page, complaints } = await openPage(browser, stage.url)
    for (let round = 1; round <= 3; round += 1) {
      stage.pass(1_000)
      await refresh(page)
      assert.ok(stage.asked('/') > round)
    }
    const before = (await page.textContent('#foot')) ?? ''
    stage.pass(1_000)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.locator('#foot').filter({ hasNotText: before }).waitFor({ timeout })
    assert.equal(stage.asked('/health'), 0)
    assert.deepEqual(complaints, [])
  })

  for (const [problem, fail] of Object.entries(outages)) {
    test(`${problem}: the page says so, and shows no green`, async t => {
      const browser = await openBrowser(t)
      if (!browser) return
      const stage = await openStage(t)
      scenes['healthy']?.(stage)
      const { page } = await openPage(browser, stage.url)
      await fail(page, stage)
      await page.clock.runFor(5_000)
      await titled(page, '? No answer')
      const verdict = (await page.textContent('#verdict')) ?? ''
      assert.match(verdict, /No answer.*not answered since .*8:00:02.AM\. The data below is old/s)
      assert.equal(await page.getAttribute('body', 'data-indicator'), 'no-answer')
      assert.equal(await page.textContent('#since'), '')
    })
  }

  test('it recovers by itself when the server answers again', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['healthy']?.(stage)
    const { page } = await openPage(browser, stage.url)
    await outages['a proxy answers 502 with a page of its own']?.(page, stage)
    await page.clock.runFor(5_000)
    await titled(page, '? No answer')
    await page.unroute(stage.url)
    await page.clock.runFor(5_000)
    await titled(page, '✓ Healthy')
    assert.match((await page.textContent('#since')) ?? '', /^For /)
  })

  test("times are in the reader's time zone; the tooltip has UTC", async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    stage.check(60_000, { by: 'check', result: 'healthy', queryMs: 1 })
    const { page } = await openPage(browser, stage.url)
    const time = page.locator('#since time')
    assert.match((await time.textContent()) ?? '', /7:01:00.AM/)
    assert.equal(await time.getAttribute('title'), '2026-11-22 12:01:00 UTC')
  })

  test('without JavaScript it says the same, in UTC, and the button leads to /health', async t => {
    const browser = await openBrowser(t, { javaScriptEnabled: false })
    if (!browser) return
    const stage = await openStage(t)
    scenes['unhealthy']?.(stage)
    const { page, complaints } = await openPage(browser, stage.url)
    assert.equal(await page.textContent('h1'), 'Unhealthy')
    assert.match((await page.textContent('#since')) ?? '', /^For 8\smin\s18\ss, since 12:51:45 UTC$/)
    assert.deepEqual(complaints, [])
    await page.click('button')
    assert.match(page.url(), /\/health\??$/)
    assert.match((await page.textContent('body')) ?? '', /"status": "healthy"/)
  })

  test('the policy blocks an injected script and an image', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    const { page, complaints } = await openPage(browser, stage.url)
    const refused = await page.evaluate<string[]>(`new Promise(resolve => {
      const refused = []
      document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
        if (refused.push(effectiveDirective) === 2) resolve(refused.sort())
      })
      const script = document.createElement('script')
      script.textContent = 'document.title = "injected"'
      const image = new Image()
      image.src = '/health'
      document.body.append(script, image)
    })`)
    assert.deepEqual(refused, ['img-src', 'script-src-elem'])
    assert.equal(complaints.length, 2, 'so the other tests would have seen a violation')
    assert.notEqual(await page.title(), 'injected')
    assert.equal(stage.asked('/health'), 0)
  })
})

/** `PG_HEALTH_PICTURES=docs node --import tsx --test tests/slow/browser.test.ts` makes the pictures of the README. */
const folder = process.env['PG_HEALTH_PICTURES'] ?? mkdtempSync(join(tmpdir(), 'pg-health-'))
after(() => {
  if (process.env['PG_HEALTH_PICTURES'] === undefined) rmSync(folder, { recursive: true })
})
const pictures = { healthy: 'light', unhealthy: 'dark' } as const
for (const [scene, colorScheme] of Object.entries(pictures)) {
  test(`the picture of the README is below 60 kB: ${scene}, ${colorScheme}`, async t => {
    const browser = await openBrowser(t, { colorScheme, viewport: { width: 560, height: 600 } })
    if (!browser) return
    const stage = await openStage(t)
    scenes[scene]?.(stage)
    const { page } = await openPage(browser, stage.url)
    const axis = await page.locator('.axis').first().boundingBox()
    assert.ok(axis)
    const clip = { x: 0, y: 0, width: 560, height: axis.y + axis.height + 12 }
    const picture = await page.screenshot({ path: join(folder, `${scene}.png`), clip })
    assert.ok(picture.length < 60_000, `${picture.length} bytes`)
  })
}
