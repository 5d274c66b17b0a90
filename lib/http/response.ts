// Writes a reply as an HTTP response: its headers, timings and body.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Reply } from '../health/reply.ts'
import { allowed, type Route } from './route.ts'

const encoder = new TextEncoder()

/** One request, from its arrival to its response. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly route: Route
  /** When the headers of the request were read: milliseconds, monotonic clock. */
  readonly arrivedAt: number
}

/** Sends `reply`. `timing` is the part of server-timing before the total. */
export function send({ request, response, route }: Exchange, reply: Reply, totalMs: number, timing: string) {
  const { headers, body } = contentOf({ method: request.method ?? '', route, reply, totalMs, timing })
  // An object, not a flat array: middleware that wraps writeHead with on-headers before 1.1.0 misreads such an array.
  response.writeHead(reply.status, headers)
  // JSON replies are ASCII. Node writes Latin-1 without a conversion, which saves 7 % of the time of a response.
  response.end(body, reply.contentType ? 'utf8' : 'latin1')
}

/** What the headers and the body of a response are made from. */
export interface ContentOptions {
  readonly method: string
  readonly route: Route
  readonly reply: Reply
  /** From the arrival of the request to now, milliseconds. */
  readonly totalMs: number
  /** The part of server-timing before the total. */
  readonly timing: string
}

/**
 * The headers of a response, in their order, and its body. HEAD gets those of GET: the body for its length, which is not
 * sent. OPTIONS and 405 add `allow`.
 */
export function contentOf({ method, route, reply, totalMs, timing }: ContentOptions): {
  headers: Record<string, string>
  body: string
} {
  const isList = listsMethods(method, route)
  const body = isList ? '' : reply.body
  const headers: Record<string, string> = {
    'content-type': reply.contentType ?? 'application/json',
    'content-length': String(reply.contentType ? encoder.encode(body).length : body.length),
    'cache-control': 'no-store',
    'x-process-time-ms': String(Math.round(totalMs)),
    'server-timing': `${timing}total;dur=${toHundredths(totalMs)}`,
  }
  for (const [at, name] of reply.headers?.entries() ?? []) {
    if (at % 2 === 0) headers[name] = reply.headers?.[at + 1] ?? ''
  }
  if (isList) headers['allow'] = allowed
  if (route.kind === 'method_not_allowed') headers['allow'] = route.allow
  return { headers, body }
}

/** Whether the request asks for the methods of a path that is not a page. */
function listsMethods(method: string, { kind }: Route): boolean {
  return method === 'OPTIONS' && ['health', 'alive', 'role', 'bad_query'].includes(kind)
}

/** Whether to close after this response. A request body is never read, so the client might keep uploading. */
export function closesConnection(headers: IncomingMessage['headers'], reply: Reply): boolean {
  if (reply.closes) return true
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** The parts of a server-timing header for the durations that are given, each with a comma and a space behind it. */
export function timingOf(durations: { waitMs?: number; connectMs?: number; queryMs?: number }): string {
  const { waitMs, connectMs, queryMs } = durations
  return partOf('wait', waitMs) + partOf('connect', connectMs) + partOf('query', queryMs)
}

function partOf(name: string, ms: number | undefined): string {
  return ms === undefined ? '' : `${name};dur=${toHundredths(ms)}, `
}

function toHundredths(ms: number): number {
  return Math.round(ms * 100) / 100
}
