// Answers requests of node:http, whichever server they arrived at.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Now } from '../health/deadline.ts'
import type { Phase } from '../health/phase.ts'
import { internalError, type Reply } from '../health/reply.ts'
import { type AnswersOptions, createAnswers } from './answer.ts'
import { closesConnection, type Exchange, send } from './response.ts'
import type { Route } from './route.ts'
import { createTurns } from './turns.ts'

export interface HandlerOptions extends Pick<AnswersOptions<Exchange>, 'check' | 'replies'> {
  readonly phase: () => Phase
  readonly now: Now
  /** Called after each response is sent. `path` is one of `pathsOf`. */
  readonly onAnswer?: ((path: string, status: number, totalMs: number) => void) | undefined
  /** Called when a request has its response, or cannot get one any more. */
  readonly onEnd?: ((request: IncomingMessage) => void) | undefined
  /** Called with an internal error. Its client gets a 500. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** About 3 ms of work (Node 20). More would delay new connections; 64 cost 6 % of the rate with 512 clients, 128 cost 3 %. */
const responsesPerTurn = 128

/** Creates a function that answers one request. It never throws. */
export function createHandler(
  options: HandlerOptions,
): (request: IncomingMessage, response: ServerResponse, route: Route) => void {
  const { check, replies, phase, now, onAnswer, onEnd, onError } = options
  const runInTurn = createTurns(responsesPerTurn)
  const answer = createAnswers<Exchange>({ check, replies, finish, fail })
  return (request, response, route) => answer({ request, response, route, arrivedAt: now() })

  /** Sends the response, in a later turn if this one is full. */
  function finish(exchange: Exchange, reply: Reply, timing: string) {
    runInTurn(() => {
      try {
        respond(exchange, reply, timing)
      } catch (error) {
        // A second 500 would fail in the same way.
        if (reply === internalError) giveUp(exchange)
        else fail(exchange, error)
      }
    })
  }

  function respond(exchange: Exchange, reply: Reply, timing: string) {
    const totalMs = now() - exchange.arrivedAt
    // Decided here and nowhere else: the shutdown may have started while the check ran.
    if (phase() !== 'serving' || closesConnection(exchange.request.headers, reply)) {
      exchange.response.shouldKeepAlive = false
    }
    send(exchange, reply, totalMs, timing)
    onAnswer?.(exchange.route.countedAs, reply.status, totalMs)
    onEnd?.(exchange.request)
  }

  /** An internal error costs its client a 500, and has no effect on any other client. */
  function fail(exchange: Exchange, error: unknown) {
    onError?.(error)
    if (exchange.response.headersSent) giveUp(exchange)
    else finish(exchange, internalError, '')
  }

  function giveUp({ request, response }: Exchange) {
    onEnd?.(request)
    try {
      response.destroy()
    } catch {
      // A service may have replaced the function. In a later turn, the error would end the process.
    }
  }
}
