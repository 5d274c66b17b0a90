// The page in a real browser, as somebody sees it who was paged at night.
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

/** Longer than the page takes to refresh itself, on a machine that is busy. */
const timeout = 60_000

/** What is recorded for an hour, a check every five seconds. */
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
  flapping(stage) {
    hour(stage, 650)
    for (let round = 0; round < 4; round += 1) {
      fail(stage, 8, 'connection_lost')
      hour(stage, 9)
    }
  },
  'nobody asks'(stage) {
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
    stage.check(5_000, { result, by: 'check', connectMs: 1_993 })
}

interface Look {
  colorScheme?: 'light' | 'dark'
  viewport?: { width: number; height: number }
  /** Of another day than what is shown: then each time has its date. */
  today?: Date
}

const narrow = { width: 320, height: 640 }
const looks: Readonly<Record<string, Look>> = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  narrow: { viewport: narrow },
  'narrow, a day later': { viewport: narrow, today: new Date('2026-11-23T12:00:00Z') },
}

// What runs in the browser is text here: this program has no document.

/** Resolves when the script has rewritten the title. */
function titled(page: Page, words: string) {
  return page.locator(`xpath=//title[starts-with(., "${words}")]`).waitFor({ state: 'attached', timeout })
}

/** Has the page ask, as when its tab comes to the front; resolves when it has put in the answer. */
async function refresh(page: Page) {
  const before = (await page.textContent('#foot')) ?? ''
  await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
  await page.locator('#foot').filter({ hasNotText: before }).waitFor({ timeout })
}

describe('in Chromium', () => {
  for (const [scene, fill] of Object.entries(scenes)) {
    test(`${scene}: axe-core finds nothing, in light, dark and 320 pixels, where nothing is cut off either, whatever day it is`, async t => {
      const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
      const browser = await openBrowser(t)
      if (!browser) return
      const stage = await openStage(t)
      fill(stage)
      for (const [
        look,
        { colorScheme = 'light', viewport = { width: 1_280, height: 900 }, today },
      ] of Object.entries(looks)) {
        const { page } = await openPage(browser, stage.url, today)
        await page.emulateMedia({ colorScheme })
        await page.setViewportSize(viewport)
        // Not as an element: the page would take it for a new version of its own script, and load itself anew.
        await page.evaluate(axe)
        const { violations, passes } = (await page.evaluate('axe.run()')) as Record<string, { id: string }[]>
        assert.deepEqual(violations, [], look)
        assert.ok(
          passes?.some(({ id }) => id === 'color-contrast'),
          'contrast was looked at',
        )
        assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), look)
        await page.close()
      }
    })
  }

  test('healthy, then unhealthy, then healthy again while the page is open: word, title, icon and colour follow a real PostgreSQL', async t => {
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
      look: await page.getAttribute('body', 'data-look'),
      icon: decodeURIComponent((await page.getAttribute('link', 'href')) ?? '').match(/fill='(#\w+)'/)?.[1],
      band: await page.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor"),
    })
    const good = { word: 'Healthy', look: 'healthy', icon: '#116329', band: 'rgb(17, 99, 41)' }
    assert.deepEqual(await state(), good)

    await postgres.stop()
    await ask(`${server.origin}/health`)
    await titled(page, '✗ Unhealthy')
    assert.deepEqual(await state(), {
      word: 'Unhealthy',
      look: 'unhealthy',
      icon: '#a40e26',
      band: 'rgb(164, 14, 38)',
    })
    assert.match((await page.textContent('#verdict')) ?? '', /database unreachable.*Sustained/)

    await postgres.start()
    await ask(`${server.origin}/health`)
    await titled(page, '✓ Healthy')
    assert.deepEqual(await state(), good)
    assert.equal(await page.locator('#changes tr').count(), 3)
    assert.deepEqual(complaints, [])
  })

  test('flapping: amber and "intermittent" while it is up', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['flapping']?.(stage)
    const { page } = await openPage(browser, stage.url)
    assert.equal(await page.title(), '! Healthy · pg-health')
    assert.match(
      (await page.textContent('[role=status]')) ?? '',
      /HealthyIntermittent: 8 changes within 15 minutes/,
    )
  })

  test('nobody asks: it says so, and the button, by keyboard, asks /health once and shows what came', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['nobody asks']?.(stage)
    const { page, complaints } = await openPage(browser, stage.url)
    assert.equal(await page.textContent('h1'), 'Was healthy')
    assert.match((await page.textContent('#since')) ?? '', /^Nobody has asked for 12\smin/)
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
    // Chromium itself writes down every 503.
    assert.deepEqual(
      complaints.filter(text => !/status of 503/.test(text)),
      [],
    )
  })

  test('a refresh puts in what differs and leaves the rest alone: focus stays, and what did not change is the same element', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['healthy']?.(stage)
    const { page, complaints } = await openPage(browser, stage.url)
    await page.focus('a[href=history]')
    await page.evaluate("for (const each of document.querySelectorAll('*')) each.known = true")
    const strangers = () =>
      page.evaluate<string[]>(
        "[...document.querySelectorAll('body *')].filter(each => !each.known).map(each => each.closest('[id]')?.id)",
      )
    stage.check(1_000, { by: 'check', result: 'healthy', queryMs: 1 })
    await refresh(page)
    assert.match((await page.textContent('#facts')) ?? '', /0\.0\ss ago, the check took 1\.0\sms/)
    const changed = new Set(await strangers())
    assert.ok(changed.has('facts') && changed.has('since'), 'these say how long')
    for (const id of ['verdict', 'strip', 'title', undefined])
      assert.ok(!changed.has(id as string), String(id))
    assert.equal(await page.evaluate("document.activeElement.getAttribute('href')"), 'history')
    assert.deepEqual(complaints, [])
  })

  test('it asks again by itself, every five seconds, and never /health', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['healthy']?.(stage)
    const page = await browser.newPage()
    await page.clock.install({ time: new Date('2026-11-22T13:00:00Z') })
    await page.goto(stage.url)
    for (let round = 1; round <= 3; round += 1) {
      const before = (await page.textContent('#foot')) ?? ''
      stage.pass(1_000)
      await page.clock.runFor(5_000)
      await page.locator('#foot').filter({ hasNotText: before }).waitFor({ timeout })
      assert.ok(stage.asked('/') > round)
    }
    assert.equal(stage.asked('/health'), 0)
  })

  test('when the server goes away the page says so at once, and does not go on showing green', async t => {
    const browser = await openBrowser(t)
    if (!browser) return
    const stage = await openStage(t)
    scenes['healthy']?.(stage)
    const { page } = await openPage(browser, stage.url)
    await stage.close()
    await titled(page, '? No answer')
    assert.match(
      (await page.textContent('#verdict')) ?? '',
      /No answer.*has not answered since .*8:00:02.AM\. What stands below is old/,
    )
    assert.equal(await page.getAttribute('body', 'data-look'), 'lost')
    assert.equal(await page.textContent('#since'), '')
  })

  test("times are in the reader's zone, with UTC to hover", async t => {
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

  test('the policy lets nothing in: a script that gets into the page does not run, nor does it load anything', async t => {
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
      script.textContent = 'document.title = "taken"'
      const image = new Image()
      image.src = '/health'
      document.body.append(script, image)
    })`)
    assert.deepEqual(refused, ['img-src', 'script-src-elem'])
    assert.equal(complaints.length, 2, 'so the other tests would have seen any')
    assert.notEqual(await page.title(), 'taken')
    assert.equal(stage.asked('/health'), 0)
  })
})

/** `PG_HEALTH_PICTURES=docs node --import tsx --test tests/slow/browser.test.ts` takes the pictures of the README anew. */
const folder = process.env['PG_HEALTH_PICTURES'] ?? mkdtempSync(join(tmpdir(), 'pg-health-'))
after(() => {
  if (process.env['PG_HEALTH_PICTURES'] === undefined) rmSync(folder, { recursive: true })
})
const pictures = { healthy: 'light', unhealthy: 'dark' } as const
for (const [scene, colorScheme] of Object.entries(pictures)) {
  test(`the picture of the README is small: ${scene}, ${colorScheme}`, async t => {
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
