// Chromium for tests of the page, and a server whose clock and checks the test controls.

import { createServer } from 'node:http'
import { after, type TestContext } from 'node:test'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium } from 'playwright-core'
import { repliesOf } from '../../lib/health/reply.ts'
import type { Verdict } from '../../lib/health/verdict.ts'
import { createHandler } from '../../lib/http/handler.ts'
import { routeOf, routesOf } from '../../lib/http/route.ts'
import { createHttp } from '../../lib/http/server.ts'
import { createHistory } from '../../lib/monitor/history.ts'
import { pagesOf } from '../../lib/page/page.ts'
import { findTool } from './tools.ts'

/** Chromium needs no screen, no sandbox and no internet. */
const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** One process for all tests of a file: starting it takes most of a second. */
let chromiumProcess: Promise<Browser> | undefined
after(async () => (await chromiumProcess)?.close())

/** A fresh profile for one test. Undefined, and the test skipped, where there is no Chromium. */
export async function openBrowser(
  t: TestContext,
  options: BrowserContextOptions = {},
): Promise<BrowserContext | undefined> {
  const executablePath = findTool(t, 'chromium')
  if (executablePath === undefined) return undefined
  chromiumProcess ??= chromium.launch({ executablePath, args: flags })
  const browser = await chromiumProcess
  const context = await browser.newContext({
    timezoneId: 'America/New_York',
    locale: 'en-US',
    ...options,
  })
  t.after(() => context.close())
  return context
}

/** When every stage begins. */
const noon = new Date('2026-11-22T12:00:00Z')

/**
 * Opens the address and collects every complaint of the browser: policy, script, network. Without the complaint about
 * a response with status 503, which Chromium writes for every unhealthy page.
 *
 * @param today the date of the reader's clock. `page.clock.runFor` moves it, and fires the timers of the page.
 */
export async function openPage(context: BrowserContext, url: string, today = noon) {
  const complaints: string[] = []
  const page = await context.newPage()
  await page.clock.install({ time: today })
  page.on('console', message => {
    if (!/status of 503/.test(message.text())) complaints.push(message.text())
  })
  page.on('pageerror', error => complaints.push(String(error)))
  await page.goto(url)
  return { page, complaints }
}

export interface Stage {
  readonly url: string
  /** Records a check that ends this much later. */
  check(afterMs: number, verdict: Verdict): void
  /** Lets time pass without a check. */
  pass(ms: number): void
  /** Sets what the next request to /health finds; healthy unless set. */
  next(verdict: Verdict): void
  /** How many requests there were for the path. */
  asked(path: string): number
  close(): Promise<void>
}

/** Serves the page as the program does, with a history that the test makes and that begins at noon UTC. */
export async function openStage(t: TestContext): Promise<Stage> {
  const clock = { ms: 0 }
  const history = createHistory({ now: () => clock.ms, date: () => new Date(noon.getTime() + clock.ms) })
  const requests: string[] = []
  let verdict: Verdict = { by: 'check', result: 'healthy', queryMs: 0.9 }
  const answer = createHandler({
    check: answer => {
      history.observe(verdict)
      answer(verdict, 0)
    },
    replies: repliesOf(503),
    now: () => performance.now(),
    phase: () => 'serving',
    onAnswer: path => requests.push(path),
    onEnd: request => http.endRequest(request),
    onError: error => {
      throw error
    },
  })
  const pages = new Map(pagesOf({ ...history, version: '0.1.0', unhealthyStatus: 503 }))
  const routes = routesOf({ roles: 'served', pages })
  const http = createHttp({
    createServer,
    handler: (request, response) =>
      answer(request, response, routeOf(request.method ?? '', request.url ?? '', routes)),
    maxConnections: 100,
    onRefused() {},
    onAcceptError: error => {
      throw error
    },
  })
  const port = (await http.listen({ port: 0, host: '127.0.0.1' }))?.port
  const close = () => http.close(0)
  t.after(close)
  return {
    url: `http://127.0.0.1:${port}/`,
    check(afterMs, found) {
      clock.ms += afterMs
      history.observe(found)
    },
    pass(ms) {
      clock.ms += ms
    },
    next(found) {
      verdict = found
    },
    asked: path => requests.filter(each => each === path).length,
    close,
  }
}

export type { Page } from 'playwright-core'
