// Makes /health for a service: the checks of the program behind a handler that the service mounts.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ReadFile } from '../config/config.ts'
import { createChecker } from '../health/checker.ts'
import type { Now } from '../health/deadline.ts'
import { createLife, type Life } from '../health/phase.ts'
import { repliesOf } from '../health/reply.ts'
import { createHandler } from '../http/handler.ts'
import { type Route, routeOf } from '../http/route.ts'
import { createWeb } from '../http/web.ts'
import { createForeignSource } from '../pool/foreign.ts'
import { type HealthOptions, readOptions, type Settings } from './options.ts'
import { createSessionSource, type SessionOptions, type SessionSource } from './session.ts'

/** What `createHealth()` returns. The functions need no `this`. */
export interface Health {
  /**
   * Answers a request of node:http on /health, /readyz and /livez, each with or without a slash at its end. Without
   * `next`, any other path gets 404; with `next`, as in Express, it is passed on. It never throws.
   */
  readonly handler: (request: IncomingMessage, response: ServerResponse, next?: () => void) => void
  /** The same for the web standard. Any other path gets 404. It never rejects. */
  readonly fetch: (request: Request) => Promise<Response>
  /**
   * From now on /health and /readyz answer 503 "server is shutting down", also to requests that wait; /livez stays 200.
   * Every response closes its connection. No check starts, and the signal of the running one aborts. Call it on SIGTERM.
   */
  readonly drain: () => void
  /** Drains, and ends the connection of its own, within half a second. A pool of the service stays as it is. */
  readonly close: () => Promise<void>
}

/** What createHealth needs of its runtime. */
export interface Runtime {
  readonly now: Now
  /** Reads a certificate or another file that the database settings name. */
  readonly readFile: ReadFile
  /** Loads the driver. Called by the first check on a connection of our own. */
  readonly loadDatabase: () => Promise<{ createDatabase(options: SessionOptions): SessionSource }>
  /** Gets the names of the parameters of `database` that have no effect. Called once, if there are any. */
  readonly onLeftOut: (names: readonly string[]) => void
}

/** Makes the handlers. Nothing runs until the first request. Throws ConfigError with every fault in the options. */
export function createHealth(options: HealthOptions, runtime: Runtime): Health {
  const { now } = runtime
  const settings = readOptions(options, runtime.readFile)
  if ('leftOut' in settings.source && settings.source.leftOut.length > 0) {
    runtime.onLeftOut(settings.source.leftOut)
  }
  const life = createLife()
  const source = openSource(settings, life, runtime)
  const checker = createChecker({ ...settings, source, life, now })
  const http = {
    check: checker.check,
    replies: repliesOf(settings.unhealthyStatus),
    phase: life.phase,
    now,
  }
  const handle = createHandler(http)
  const answer = createWeb(http)
  const find = (method: string, target: string) => routeBelow(settings.prefix, method, target)
  return { handler, fetch: request => answer(request, find(request.method, request.url)), drain, close }

  function handler(request: IncomingMessage, response: ServerResponse, next?: () => void) {
    const { method = '', url = '', originalUrl } = request as IncomingMessage & { originalUrl?: unknown }
    let route = find(method, url)
    // Express and Connect remove the path at which a handler is mounted: of app.use('/health', handler) `/` is left.
    if (route.kind === 'not_found' && typeof originalUrl === 'string') route = find(method, originalUrl)
    if (route.kind === 'not_found' && typeof next === 'function') return next()
    handle(request, response, route)
  }

  function drain() {
    if (life.phase() !== 'serving') return
    checker.drain()
    source.stop()
  }

  async function close() {
    drain()
    life.enter('closing')
    await source.close()
  }
}

/** The paths of the library. The role paths need a session of our own, so they belong to the program. */
const served = ['/health', '/readyz', '/livez']

/** Removes the prefix, if it is there: some frameworks have removed it already. */
function routeBelow(prefix: string, method: string, target: string): Route {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '')
  const route = routeOf(method, path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : target, noPages)
  return served.includes(route.path) ? route : { kind: 'not_found', path: 'other' }
}

const noPages = new Map<string, never>()

function openSource({ source, timeoutMs }: Settings, { phase }: Life, { now, loadDatabase }: Runtime) {
  if ('check' in source) {
    return Object.assign(createForeignSource({ ...source, now }), { close: async () => {} })
  }
  const load = async () => (await loadDatabase()).createDatabase({ ...source, timeoutMs, phase, now })
  const session: SessionSource = createSessionSource(load)
  return Object.assign(session, { stop() {} })
}
