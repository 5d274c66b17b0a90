// Writes a reply as an HTTP response: its headers, timings and body.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Reply } from '../health/reply.ts'
import { allowed, type Route } from './route.ts'

/** One request, from its arrival to its response. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly route: Route
  /** When the headers of the request were read: milliseconds, monotonic clock. */
  readonly arrivedAt: number
}

/** Sends `reply`. Status and headers are those of GET, whatever the method. `timing` comes before the total. */
export function send({ request, response, route }: Exchange, reply: Reply, totalMs: number, timing: string) {
  const isOptions = request.method === 'OPTIONS' && takesOptions(route)
  const body = isOptions ? '' : reply.body
  const headers = [
    'content-type',
    reply.contentType ?? 'application/json',
    'content-length',
    String(Buffer.byteLength(body)),
    'cache-control',
    'no-store',
    'x-process-time-ms',
    String(Math.round(totalMs)),
    'server-timing',
    `${timing}total;dur=${toHundredths(totalMs)}`,
  ]
  if (reply.headers) headers.push(...reply.headers)
  if (isOptions) headers.push('allow', allowed)
  if (route.kind === 'method_not_allowed') headers.push('allow', route.allow)
  response.writeHead(reply.status, headers)
  // JSON replies are ASCII. Node writes Latin-1 without a conversion, which saves 7 % of the time of a response.
  response.end(body, reply.contentType ? 'utf8' : 'latin1')
}

function takesOptions({ kind }: Route): boolean {
  return kind === 'health' || kind === 'alive' || kind === 'role' || kind === 'bad_query'
}

/** Whether this request or its reply ends the connection: a body is never read, so its client could go on uploading. */
export function closesConnection({ headers }: IncomingMessage, reply: Reply): boolean {
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
