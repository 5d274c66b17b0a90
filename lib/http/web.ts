// Answers requests of the web standard: Request in, Response out.
import type { IncomingHttpHeaders } from 'node:http'
import { internalError, type Reply } from '../health/reply.ts'
import { type AnswersOptions, createAnswers } from './answer.ts'
import type { HandlerOptions } from './handler.ts'
import { closesConnection, contentOf } from './response.ts'
import type { Route } from './route.ts'

export interface WebOptions
  extends Pick<AnswersOptions<WebExchange>, 'check' | 'replies'>,
    Pick<HandlerOptions, 'phase' | 'now' | 'onAnswer'> {}

/** What a response depends on. */
export interface WebRequest {
  readonly method: string
  readonly url: string
  /** The headers that tell whether the request has a body. */
  readonly sizes: Pick<IncomingHttpHeaders, 'content-length' | 'transfer-encoding'>
}

/** Reads a request on its arrival, so that nothing of it can fail later. Throws TypeError if it is no Request. */
export function readRequest(request: Request): WebRequest {
  try {
    const { method, url, headers } = request
    const sizes = {
      'content-length': headers.get('content-length') ?? undefined,
      'transfer-encoding': headers.get('transfer-encoding') ?? undefined,
    }
    if (typeof method === 'string' && typeof url === 'string') return { method, url, sizes }
  } catch {}
  throw new TypeError('fetch() needs a Request of the web standard: see docs/library.md of pg-health')
}

/** One request, from its arrival to its response. */
interface WebExchange {
  readonly request: WebRequest
  readonly route: Route
  readonly arrivedAt: number
  readonly resolve: (response: Response) => void
}

/** Creates a function that answers one request, with the same status, headers and body as the handler. */
export function createWeb(options: WebOptions): (request: WebRequest, route: Route) => Promise<Response> {
  const { check, replies, phase, now, onAnswer } = options
  const answer = createAnswers<WebExchange>({
    check,
    replies,
    finish: (exchange, reply, timing) => exchange.resolve(responseOf(exchange, reply, timing)),
    fail: exchange => exchange.resolve(responseOf(exchange, internalError, '')),
  })
  return (request, route) => new Promise(resolve => answer({ request, route, arrivedAt: now(), resolve }))

  function responseOf({ request, route, arrivedAt }: WebExchange, reply: Reply, timing: string): Response {
    const { method, sizes } = request
    const totalMs = now() - arrivedAt
    const { headers: written, body } = contentOf({ method, route, reply, totalMs, timing })
    // A Response has no other way to end its connection.
    if (phase() !== 'serving' || closesConnection(sizes, reply)) written['connection'] = 'close'
    onAnswer?.(route.countedAs, reply.status, totalMs)
    return new Response(method === 'HEAD' ? null : body, { status: reply.status, headers: written })
  }
}
