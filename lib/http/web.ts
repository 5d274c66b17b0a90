// Answers requests of the web standard: Request in, Response out.
import { internalError, type Reply } from '../health/reply.ts'
import { type AnswersOptions, createAnswers } from './answer.ts'
import type { HandlerOptions } from './handler.ts'
import { closesConnection, contentOf } from './response.ts'
import type { Route } from './route.ts'

export interface WebOptions
  extends Pick<AnswersOptions<WebExchange>, 'check' | 'replies'>,
    Pick<HandlerOptions, 'phase' | 'now' | 'onAnswer'> {}

/** One request, from its arrival to its response. */
interface WebExchange {
  readonly request: Request
  readonly route: Route
  readonly arrivedAt: number
  readonly resolve: (response: Response) => void
}

/** Creates a function that answers one request, with the same status, headers and body as the handler. */
export function createWeb(options: WebOptions): (request: Request, route: Route) => Promise<Response> {
  const { check, replies, phase, now, onAnswer } = options
  const answer = createAnswers<WebExchange>({
    check,
    replies,
    finish: (exchange, reply, timing) => exchange.resolve(responseOf(exchange, reply, timing)),
    fail: exchange => exchange.resolve(responseOf(exchange, internalError, '')),
  })
  return (request, route) => new Promise(resolve => answer({ request, route, arrivedAt: now(), resolve }))

  function responseOf({ request, route, arrivedAt }: WebExchange, reply: Reply, timing: string): Response {
    const { method, headers } = request
    const totalMs = now() - arrivedAt
    const { headers: written, body } = contentOf({ method, route, reply, totalMs, timing })
    const sizes = {
      'content-length': headers.get('content-length') ?? undefined,
      'transfer-encoding': headers.get('transfer-encoding') ?? undefined,
    }
    // A Response has no other way to end its connection.
    if (phase() !== 'serving' || closesConnection(sizes, reply)) written['connection'] = 'close'
    onAnswer?.(route.countedAs, reply.status, totalMs)
    return new Response(method === 'HEAD' ? null : body, { status: reply.status, headers: written })
  }
}
