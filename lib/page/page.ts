// Serves the page for people at / and its data at /history. Neither queries the database.
import { createHash } from 'node:crypto'
import type { Reply } from '../health/reply.ts'
import type { Snapshot } from '../monitor/history.ts'
import { documentOf } from './document.ts'
import { indicatorOf } from './indicator.ts'
import { script } from './script.ts'
import { style } from './style.ts'

export interface PageOptions {
  /** Returns what the checks found. */
  readonly read: () => Snapshot
  readonly version: string
  /** The status of an unhealthy answer. */
  readonly unhealthyStatus: number
}

/** The page and its data, by path. Nothing in them depends on the request. */
export function pagesOf({
  read,
  version,
  unhealthyStatus,
}: PageOptions): [path: string, render: () => Reply][] {
  // Made by the first request: the first hash loads OpenSSL's algorithms, which takes 5 ms of the start.
  let headers: readonly string[] | undefined
  return [
    ['/', page],
    ['/history', data],
  ]

  function page() {
    const snapshot = read()
    const status = isHealthy(snapshot) ? 200 : unhealthyStatus
    return reply(status, 'text/html; charset=utf-8', documentOf(snapshot, version))
  }

  function data() {
    return reply(200, 'application/json', JSON.stringify({ version, ...read() }))
  }

  function reply(status: number, contentType: string, body: string): Reply {
    headers ??= createHeaders()
    return { status, contentType, headers, body }
  }
}

/**
 * Whether `/` answers 200. A browser shows the page with any status, but a load balancer sees only the
 * status, and ALB, GCE, Azure and DigitalOcean ask `/` unless told otherwise. An unknown or old verdict
 * therefore counts as unhealthy: with 200, a balancer that asks only `/` would keep a dead service forever,
 * as a page starts no check. With 503 it fails within a minute of its set-up instead of during the first
 * outage. Such a balancer should ask /health instead.
 */
function isHealthy(snapshot: Snapshot): boolean {
  const { indicator } = indicatorOf(snapshot)
  return indicator === 'healthy' || indicator === 'intermittent'
}

/**
 * Names and values of headers that allow the page its own style and script and nothing else. It loads nothing
 * from other origins, can't be put into a frame, and does not tell other sites where a link came from.
 */
function createHeaders(): readonly string[] {
  const policy = [
    "default-src 'none'",
    `style-src ${hashOf(style)}`,
    `script-src ${hashOf(script)}`,
    'img-src data:',
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ]
  return [
    'content-security-policy',
    policy.join('; '),
    'x-frame-options',
    'DENY',
    'x-content-type-options',
    'nosniff',
    'referrer-policy',
    'no-referrer',
  ]
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}
