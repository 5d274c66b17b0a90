// Finds the route of a request from its method and its target.
import { otherPath, type Reply } from '../health/reply.ts'
import type { Wish } from '../health/role.ts'
import { readWish } from './wish.ts'

/** Pages for people and their tools, by path. Each is rendered on request, and from nothing in the request. */
export type Pages = ReadonlyMap<string, () => Reply>

/** What is served: the route of each path. */
export type Routes = ReadonlyMap<string, Route>

/** What a request asks for. */
export type Route = {
  /** The name under which the request is counted: one of `pathsOf`, never what the client wrote. */
  readonly countedAs: string
} & (
  | { readonly kind: 'health' }
  | { readonly kind: 'alive' | 'not_found' | 'bad_query' }
  | { readonly kind: 'role'; readonly wish: Wish }
  | { readonly kind: 'page'; readonly render: () => Reply }
  | { readonly kind: 'method_not_allowed'; readonly allow: string }
)

/** The methods of every path that is not a page. OPTIONS gets the true status: HAProxy's `option httpchk` sends it. */
export const allowed = 'GET, HEAD, OPTIONS'
/** No OPTIONS: HAProxy sends it to / by default, and a page is there even when the database is down. */
const allowedOnPages = 'GET, HEAD'

export interface RoutesOptions {
  /** Whether the paths that ask for a role are served. The pool of a service can't tell the role. */
  readonly roles: 'served' | 'absent'
  readonly pages: Pages
  /** The path in front of all paths, without a slash at its end; none unless given. */
  readonly prefix?: string
}

/**
 * Makes the table of routes. With a prefix, only the paths below it are in it: all others belong to the service. If the
 * prefix is itself the path of a check, that check is there, and not the page `/`: a load balancer may ask it.
 */
export function routesOf({ roles, pages, prefix = '' }: RoutesOptions): Routes {
  const checks = roles === 'served' ? [...contract, ...rolePaths] : contract
  const shown = [...pages].map(([path, render]): Entry => [path, { kind: 'page', countedAs: path, render }])
  const below = [...checks, ...shown].map(([path, route]): Entry => [`${prefix}${path}`, route])
  const atPrefix = checks.filter(([path]) => path === prefix || path === `${prefix}/`)
  return new Map([...below, ...atPrefix])
}

/**
 * Routes a request. The target is compared as it is, without decoding, so nothing can be decoded wrongly: `new URL`
 * takes `//x/health` for a host, and throws on `//`.
 *
 * @param target as in the request line: `/health?x`, or `http://host/health`, the absolute form that proxies use.
 */
export function routeOf(method: string, target: string, routes: Routes): Route {
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  const route = routes.get(path) ?? routes.get(path.replace(/^https?:\/\/[^/?#]*/i, ''))
  if (route === undefined) return { kind: 'not_found', countedAs: otherPath }
  const allow = route.kind === 'page' ? allowedOnPages : allowed
  if (method === 'GET' || method === 'HEAD' || (method === 'OPTIONS' && allow === allowed)) {
    return route.kind === 'role' && query >= 0 ? withQuery(route, target.slice(query + 1)) : route
  }
  return { kind: 'method_not_allowed', countedAs: route.countedAs, allow }
}

function withQuery({ countedAs, wish: { role } }: Route & { readonly kind: 'role' }, query: string): Route {
  const wish = readWish(role, query)
  return wish ? { kind: 'role', countedAs, wish } : { kind: 'bad_query', countedAs }
}

type Entry = [path: string, route: Route]

const contract: readonly Entry[] = [
  ['/health', { kind: 'health', countedAs: '/health' }],
  ['/health/', { kind: 'health', countedAs: '/health' }],
  ['/readyz', { kind: 'health', countedAs: '/readyz' }],
  ['/readyz/', { kind: 'health', countedAs: '/readyz' }],
  ['/livez', { kind: 'alive', countedAs: '/livez' }],
  ['/livez/', { kind: 'alive', countedAs: '/livez' }],
]

const rolePaths: readonly Entry[] = [
  ...rolePath('/primary', 'primary'),
  ...rolePath('/read-write', 'primary'),
  ...rolePath('/replica', 'standby'),
]

function rolePath(path: string, role: Wish['role']): Entry[] {
  const route: Route = { kind: 'role', countedAs: path, wish: { role } }
  return [
    [path, route],
    [`${path}/`, route],
  ]
}

/**
 * All names under which requests are counted. A path for a role has `statuses`: those of its refusals, which
 * HEALTH_UNHEALTHY_STATUS does not change.
 */
export function pathsOf(routes: Routes): { path: string; statuses?: number[] }[] {
  const kinds = new Map([...routes.values()].map(({ countedAs, kind }) => [countedAs, kind]))
  return [...kinds, [otherPath] as const].map(([path, kind]) =>
    kind === 'role' ? { path, statuses: [400, 503] } : { path },
  )
}
