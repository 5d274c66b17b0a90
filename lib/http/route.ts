// Finds the route of a request from its method and its target.
import type { Reply } from '../health/reply.ts'
import type { Wish } from '../health/role.ts'
import { readWish } from './wish.ts'

/** Pages for people and their tools, by path. Each is rendered on request, and from nothing in the request. */
export type Pages = ReadonlyMap<string, () => Reply>

/** What a request asks for. */
export type Route = {
  /** The name under which the request is counted: one of `pathsOf`, never what the client wrote. */
  readonly path: string
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

/**
 * Routes a request. The target is compared as it is, without decoding, so nothing can be decoded wrongly: `new URL`
 * takes `//x/health` for a host, and throws on `//`.
 *
 * @param target as in the request line: `/health?x`, or `http://host/health`, the absolute form that proxies use.
 */
export function routeOf(method: string, target: string, pages: Pages): Route {
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  const route = find(path, pages) ?? find(path.replace(/^https?:\/\/[^/?#]*/i, ''), pages)
  if (route === undefined) return { kind: 'not_found', path: 'other' }
  const allow = route.kind === 'page' ? allowedOnPages : allowed
  if (method === 'GET' || method === 'HEAD' || (method === 'OPTIONS' && allow === allowed)) {
    return route.kind === 'role' && query >= 0 ? withQuery(route, target.slice(query + 1)) : route
  }
  return { kind: 'method_not_allowed', path: route.path, allow }
}

function withQuery({ path, wish: { role } }: Route & { readonly kind: 'role' }, query: string): Route {
  const wish = readWish(role, query)
  return wish ? { kind: 'role', path, wish } : { kind: 'bad_query', path }
}

function find(path: string, pages: Pages): Route | undefined {
  const render = pages.get(path)
  return contract.get(path) ?? (render && { kind: 'page', path, render })
}

const contract: ReadonlyMap<string, Route> = new Map([
  ['/health', { kind: 'health', path: '/health' }],
  ['/health/', { kind: 'health', path: '/health' }],
  ['/readyz', { kind: 'health', path: '/readyz' }],
  ['/readyz/', { kind: 'health', path: '/readyz' }],
  ['/livez', { kind: 'alive', path: '/livez' }],
  ['/livez/', { kind: 'alive', path: '/livez' }],
  ...rolePath('/primary', 'primary'),
  ...rolePath('/read-write', 'primary'),
  ...rolePath('/replica', 'standby'),
])

function rolePath(path: string, role: Wish['role']): [string, Route][] {
  const route: Route = { kind: 'role', path, wish: { role } }
  return [
    [path, route],
    [`${path}/`, route],
  ]
}

/**
 * All names under which requests are counted, given the paths of the pages. A path for a role has `statuses`: those of
 * its refusals, which HEALTH_UNHEALTHY_STATUS does not change.
 */
export function pathsOf(pages: Iterable<string>): { path: string; statuses?: number[] }[] {
  const routes = [...contract.values()]
  const roles = routes.filter(({ kind }) => kind === 'role').map(({ path }) => path)
  const paths = new Set([...routes.map(({ path }) => path), ...pages, 'other'])
  return [...paths].map(path => (roles.includes(path) ? { path, statuses: [400, 503] } : { path }))
}
