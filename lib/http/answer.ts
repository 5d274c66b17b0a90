// Decides the reply to a request: after a check, or immediately.
import type { Check } from '../health/probe.ts'
import { alive, badQuery, methodNotAllowed, notFound, type Reply, roleReplies } from '../health/reply.ts'
import { questionOf, resultFor } from '../health/role.ts'
import type { Verdict } from '../health/verdict.ts'
import { timingOf } from './response.ts'
import type { Route } from './route.ts'

export interface AnswersOptions<Exchange> {
  readonly check: Check
  /** The reply to each result of a check. */
  readonly replies: Readonly<Record<Verdict['result'], Reply>>
  /** Gets the reply. `timing` is the part of server-timing before the total. May throw: then `fail` is called. */
  readonly finish: (exchange: Exchange, reply: Reply, timing: string) => void
  /** Gets an internal error, for which there is no reply. */
  readonly fail: (exchange: Exchange, error: unknown) => void
}

/**
 * Makes a function that answers one request, whatever server it arrived at. It never throws: answer.ts catches what
 * rendering throws, handler.ts what writing throws.
 */
export function createAnswers<Exchange extends { readonly route: Route }>({
  check,
  replies,
  finish,
  fail,
}: AnswersOptions<Exchange>): (exchange: Exchange) => void {
  /** Many requests share a verdict, so its part of server-timing is formatted once. */
  let shared: { readonly verdict?: Verdict; readonly timing: string } = { timing: '' }

  return exchange => {
    try {
      const { route } = exchange
      if (route.kind === 'health' || route.kind === 'role') checkAndFinish(exchange, route)
      else finish(exchange, replyOf(route), '')
    } catch (error) {
      fail(exchange, error)
    }
  }

  function checkAndFinish(exchange: Exchange, route: CheckedRoute) {
    check(
      (verdict, waitMs) => {
        try {
          if (verdict !== shared.verdict) shared = { verdict, timing: timingOf(verdict) }
          const reply =
            route.kind === 'role' ? roleReplies[resultFor(route.wish, verdict)] : replies[verdict.result]
          finish(exchange, reply, timingOf({ waitMs }) + shared.timing)
        } catch (error) {
          fail(exchange, error)
        }
      },
      error => fail(exchange, error),
      route.kind === 'role' ? questionOf(route.wish) : undefined,
    )
  }
}

/** A route whose reply needs a check. */
type CheckedRoute = Extract<Route, { kind: 'health' | 'role' }>

/** The reply to a request that needs no check. */
function replyOf(route: Exclude<Route, CheckedRoute>): Reply {
  if (route.kind === 'alive') return alive
  if (route.kind === 'page') return route.render()
  if (route.kind === 'bad_query') return badQuery
  return route.kind === 'not_found' ? notFound : methodNotAllowed
}
