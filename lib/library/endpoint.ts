// Puts checks, routes and responses together. The program serves them on its port; a service mounts them.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Now } from '../health/deadline.ts'
import type { Life } from '../health/phase.ts'
import { type Check, createProbe } from '../health/probe.ts'
import { repliesOf } from '../health/reply.ts'
import type { Verdict } from '../health/verdict.ts'
import { createHandler, type HandlerOptions } from '../http/handler.ts'
import { type Route, type RoutesOptions, routeOf, routesOf } from '../http/route.ts'
import { createWeb, readRequest } from '../http/web.ts'
import type { Health } from './api.ts'
import { createDetails, type DetailsOptions } from './details.ts'
import type { ClosableSource } from './source.ts'

export interface EndpointOptions
  extends Omit<RoutesOptions, 'pages'>,
    Pick<HandlerOptions, 'onEnd' | 'onError'> {
  readonly source: ClosableSource
  readonly life: Life
  readonly now: Now
  /** Every request is answered within this many milliseconds. */
  readonly timeoutMs: number
  /** The status of an unhealthy response. */
  readonly unhealthyStatus: number
  /** What the pages need. Undefined if they are not served. */
  readonly details: Pick<DetailsOptions, 'version' | 'date' | 'more'> | undefined
  /** Called once per check with its verdict, and once more if requests timed out during it. */
  readonly onVerdict: (verdict: Verdict) => void
}

/** What the program needs beside the functions of the library. */
export interface Endpoint extends Health {
  /** Answers a request that did not arrive over HTTP. */
  readonly check: Check
  /** Counts a request that the HTTP parser refused, by the status that its client got. */
  readonly onRefused: (status: number) => void
}

/** Koa and Hono call a handler with a context, Fastify with a reply of its own. */
const wrongMount =
  'handler() needs the request and the response of node:http: docs/library.md of pg-health tells how each framework gives them'

/** Makes the handlers of one source. Nothing runs until the first request. */
export function createEndpoint(options: EndpointOptions): Endpoint {
  const { source, roles, life, now, timeoutMs, unhealthyStatus } = options
  const { phase, enter } = life
  let inFlight = 0
  let closing: Promise<void> | undefined
  const details =
    options.details &&
    createDetails({
      ...options.details,
      roles,
      unhealthyStatus,
      now,
      inFlight: () => inFlight,
      connectionsOpened: source.connectionsOpened,
    })
  const pages = details?.pages ?? new Map()
  const routes = routesOf({ ...options, pages })
  const { check, stop } = createProbe({
    runCheck: async (...task) => observe(await source.check(...task)),
    timedOut: () => observe(source.timedOut()),
    phase,
    now,
    timeoutMs,
  })
  const common = {
    check,
    replies: repliesOf(unhealthyStatus),
    phase,
    now,
    onAnswer: details?.onAnswer,
  }
  const answer = createHandler({ ...common, onEnd, onError: options.onError })
  const answerWeb = createWeb(common)
  return { handler, fetch, drain, close, check, onRefused: status => details?.onRefused(status) }

  function observe(verdict: Verdict): Verdict {
    // A check that the shutdown cut short says nothing about the database.
    if (phase() !== 'serving') return verdict
    details?.observe(verdict)
    options.onVerdict(verdict)
    return verdict
  }

  function handler(request: IncomingMessage, response: ServerResponse, next?: () => void) {
    if (typeof response?.writeHead !== 'function') throw new TypeError(wrongMount)
    const route = routeOfMounted(request)
    if (route.kind === 'not_found' && typeof next === 'function') return next()
    inFlight += 1
    answer(request, response, route)
  }

  function onEnd(request: IncomingMessage) {
    inFlight -= 1
    options.onEnd?.(request)
  }

  /** Express and Connect remove the path at which a handler is mounted: of app.use('/health', handler) `/` is left. */
  function routeOfMounted(request: IncomingMessage & { readonly originalUrl?: unknown }): Route {
    const { method = '', url = '', originalUrl } = request
    const route = routeOf(method, url, routes)
    if (typeof originalUrl !== 'string' || (route.kind !== 'not_found' && !pages.has(route.countedAs)))
      return route
    const whole = routeOf(method, originalUrl, routes)
    if (whole.kind !== 'not_found') return whole
    // The links of the page are relative: at /internal, without a slash at its end, they would lead elsewhere.
    return route.countedAs === '/' && !/^[^?]*\/(\?|$)/.test(originalUrl) ? whole : route
  }

  async function fetch(request: Request): Promise<Response> {
    const read = readRequest(request)
    inFlight += 1
    try {
      return await answerWeb(read, routeOf(read.method, read.url, routes))
    } finally {
      inFlight -= 1
    }
  }

  function drain() {
    if (phase() !== 'serving') return
    enter('draining')
    stop()
    source.stop?.()
    details?.showShutdown()
  }

  function close(): Promise<void> {
    drain()
    enter('closing')
    closing ??= source.close()
    return closing
  }
}
