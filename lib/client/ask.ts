// Asks a running server, for containers that have no curl.
import { request as overHttp } from 'node:http'
import { request as overHttps } from 'node:https'

/** What asking found. */
export interface Finding {
  /** `failed`: there was no answer. `strange`: there was one, but not of a health endpoint. */
  readonly state: 'healthy' | 'unhealthy' | 'failed' | 'strange'
  /** For whoever reads it: one line, ✓ or ✗ first. */
  readonly line: string
}

/** An answer of ours has 80 bytes; more than this is somebody else's. */
const maxBodyBytes = 64 * 1024

/**
 * Asks once; never rejects.
 *
 * @param url http or https.
 * @param timeoutMs for everything: name, connection, answer.
 */
export async function askServer(url: URL, timeoutMs: number): Promise<Finding> {
  try {
    const { status, body } = await get(url, AbortSignal.timeout(timeoutMs))
    const answer = parse(body)
    if (status === 200 && answer.status === 'healthy') return { state: 'healthy', line: '✓ API is healthy' }
    if (status === 200 && answer.status === 'alive') return { state: 'healthy', line: '✓ API is alive' }
    if (answer.status === 'unhealthy') {
      return { state: 'unhealthy', line: `✗ API unhealthy: ${printable(answer.error)}` }
    }
    // 502 and 504 are what a proxy says when there is nobody behind it.
    return failed(`HTTP ${status}, not the answer of a health endpoint`, status >= 500 ? 'failed' : 'strange')
  } catch (error) {
    const { name, code, message } = error as NodeJS.ErrnoException
    if (name === 'AbortError') return failed(`no answer within ${timeoutMs} ms`)
    if (code === 'ECONNRESET') return failed('the connection broke off')
    // A refused name with two addresses has no message, only a code; OpenSSL's message is a path of its source.
    return failed((code !== 'EPROTO' && message) || (code ?? name))
  }
}

function failed(why: string, state: Finding['state'] = 'failed'): Finding {
  return { state, line: `✗ Health check failed: ${printable(why)}` }
}

function get(url: URL, signal: AbortSignal): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const ask = url.protocol === 'https:' ? overHttps : overHttp
    const request = ask(url, { signal, agent: false }, response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('error', reject)
      response.on('data', (chunk: string) => {
        body += chunk
        if (body.length > maxBodyBytes) response.destroy(new Error('the answer does not end'))
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    request.on('error', reject)
    // 101, which nobody asked for, is no answer.
    request.on('upgrade', (_response, socket) => {
      socket.destroy()
      reject(new Error('the server switches protocols'))
    })
    request.end()
  })
}

function parse(body: string): { readonly status?: unknown; readonly error?: unknown } {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

/** One line, whatever the server sent: a terminal must not obey it. */
function printable(value: unknown): string {
  return (typeof value === 'string' ? value : 'no reason given').replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)
}
