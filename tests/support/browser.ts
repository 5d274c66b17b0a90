// Chromium for tests of the page, and a page whose clock and checks the test decides about.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { repliesOf } from '../../lib/health/reply.ts'
import type { Verdict } from '../../lib/health/verdict.ts'
import { createConnections } from '../../lib/http/connections.ts'
import { createHttp } from '../../lib/http/server.ts'
import { createHistory } from '../../lib/monitor/history.ts'
import { pagesOf } from '../../lib/page/page.ts'
import { findTool } from './tools.ts'

/** Nothing that needs a screen, a sandbox, or the internet. */
const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A browser with a fresh profile, gone after the test; undefined, and the test skipped, where there is none. */
export async function openBrowser(
  t: TestContext,
  options: BrowserContextOptions = {},
): Promise<BrowserContext | undefined> {
  const executablePath = findTool(t, 'chromium')
  if (executablePath === undefined) return undefined
  const profile = mkdtempSync(join(tmpdir(), 'pg-health-browser-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    args: flags,
    timezoneId: 'America/New_York',
    locale: 'en-US',
    ...options,
  })
  t.after(async () => {
    await context.close()
    rmSync(profile, { recursive: true, force: true })
  })
  return context
}

/** When every stage begins. */
const noon = new Date('2026-11-22T12:00:00Z')

/**
 * Opens the address, and keeps everything that the browser complained about: policy, script, network. The reader's
 * clock stands still, as how the page writes a time depends on what is today.
 */
export async function openPage(context: BrowserContext, url: string, today = noon) {
  const complaints: string[] = []
  const page = await context.newPage()
  await page.clock.setFixedTime(today)
  page.on('console', message => complaints.push(message.text()))
  page.on('pageerror', error => complaints.push(String(error)))
  await page.goto(url)
  return { page, complaints }
}

export interface Stage {
  readonly url: string
  /** A check that ends so much later. */
  check(afterMs: number, verdict: Verdict): void
  /** Time goes by and nobody asks. */
  pass(ms: number): void
  /** What the next request to /health finds; healthy unless set. */
  next(verdict: Verdict): void
  /** How often the path was asked for. */
  asked(path: string): number
  close(): Promise<void>
}

/** The page as the program serves it, on a history of the test's making that begins at noon UTC. */
export async function openStage(t: TestContext): Promise<Stage> {
  const clock = { ms: 0 }
  const history = createHistory({ now: () => clock.ms, date: () => new Date(noon.getTime() + clock.ms) })
  const requests: string[] = []
  let verdict: Verdict = { by: 'check', result: 'healthy', queryMs: 0.9 }
  const http = createHttp({
    createServer,
    check: answer => {
      history.observe(verdict)
      answer(verdict, 0)
    },
    replies: repliesOf(503),
    pages: new Map(pagesOf({ ...history, version: '0.1.0' })),
    now: () => performance.now(),
    connections: createConnections(100),
    phase: () => 'serving',
    onAnswer: path => requests.push(path),
    onRefused() {},
    onError: error => {
      throw error
    },
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

export type { Page }
