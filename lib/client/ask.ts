// Asks a running server for its health, for containers that have no curl.
import type { RequestOptions } from 'node:http'

/** Where to ask. */
export interface Target {
  /** http or https. */
  readonly url: URL
  /** Connect to this host instead of the URL's: a URL cannot hold the zone of an IPv6 address (`fe80::1%eth0`). */
  readonly host?: string
}

/** What one request found out. */
export interface Finding {
  /** `failed`: there was no response. `strange`: there was one, but not from a health endpoint. */
  readonly state: 'healthy' | 'unhealthy' | 'failed' | 'strange'
  /** One line for people. It begins with ✓ or ✗. */
  readonly line: string
  /** How long the request took. */
  readonly elapsedMs: number
}

type Result = Omit<Finding, 'elapsedMs'>

/** A health endpoint sends about 80 bytes. More than this comes from something else. */
const maxBodyBytes = 64 * 1024

export interface AskOptions {
  readonly target: Target
  /** For everything: name resolution, connection, response. */
  readonly timeoutMs: number
  /** Monotonic clock, milliseconds. */
  readonly now: () => number
  /** Loads a module of Node.js. */
  readonly loadModule: NodeJS.Process['getBuiltinModule']
}

/** Sends one request. Never rejects. */
export async function askServer({ target, timeoutMs, now, loadModule }: AskOptions): Promise<Finding> {
  const startedAt = now()
  const response = get(target, AbortSignal.timeout(timeoutMs), loadModule)
  const result = await response.then(resultOf, error => failureOf(error, timeoutMs))
  return { ...result, elapsedMs: now() - startedAt }
}

interface Response {
  readonly status: number
  readonly body: string
}

function get(
  { url, host }: Target,
  signal: AbortSignal,
  loadModule: AskOptions['loadModule'],
): Promise<Response> {
  // An `import` of node:http also loads the WebSocket client: 37 ms of processor time and 13 MB (Node 24, 26).
  const { request } = url.protocol === 'https:' ? loadModule('node:https') : loadModule('node:http')
  const options: RequestOptions = { signal, agent: false, ...(host === undefined ? {} : { hostname: host }) }
  return new Promise((resolve, reject) => {
    const sent = request(url, options, response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('error', reject)
      response.on('data', (chunk: string) => {
        body += chunk
        if (body.length > maxBodyBytes) response.destroy(new Error('the answer does not end'))
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    sent.on('error', reject)
    // 101 is not a response to a request that asked for no upgrade.
    sent.on('upgrade', (_response, socket) => {
      socket.destroy()
      reject(new Error('the server switches protocols'))
    })
    sent.end()
  })
}

function resultOf({ status, body }: Response): Result {
  const reply = parse(body)
  if (status === 200 && reply.status === 'healthy') return { state: 'healthy', line: '✓ API is healthy' }
  if (status === 200 && reply.status === 'alive') return { state: 'healthy', line: '✓ API is alive' }
  if (reply.status === 'unhealthy') {
    return { state: 'unhealthy', line: `✗ API unhealthy: ${printable(reply.error)}` }
  }
  // A proxy that has no server behind it answers 502 or 504.
  return failed(`HTTP ${status}, not the answer of a health endpoint`, status >= 500 ? 'failed' : 'strange')
}

function failureOf({ name, code, message }: NodeJS.ErrnoException, timeoutMs: number): Result {
  if (name === 'AbortError') return failed(`no answer within ${timeoutMs} ms`)
  if (code === 'ECONNRESET') return failed('the connection broke off')
  // A refused name with two addresses has a code and no message. The message of OpenSSL is a path in its source.
  return failed((code !== 'EPROTO' && message) || (code ?? name))
}

function failed(reason: string, state: Finding['state'] = 'failed'): Result {
  return { state, line: `✗ Health check failed: ${printable(reason)}` }
}

function parse(body: string): { readonly status?: unknown; readonly error?: unknown } {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

/** One line of ASCII, whatever the server sent: it must not control a terminal. */
function printable(value: unknown): string {
  return (typeof value === 'string' ? value : 'no reason given').replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)
}
