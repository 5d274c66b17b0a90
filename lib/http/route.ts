// Says what a request asks for, from its method and its target.
import type { Reply } from '../health/reply.ts'
import type { Wish } from '../health/role.ts'
import { readWish } from './wish.ts'

/** What people and their tools look at, by path; each is made when it is asked for, of nothing in the request. */
export type Pages = ReadonlyMap<string, () => Reply>

/** What a request asks for. */
export type Route = {
  /** What it is counted under: one of a closed list, never what the client wrote. */
  readonly path: string
} & (
  | { readonly kind: 'health' | 'alive' | 'not_found' | 'bad_query' }
  | { readonly kind: 'role'; readonly wish: Wish }
  | { readonly kind: 'page'; readonly render: () => Reply }
  | { readonly kind: 'method_not_allowed'; readonly allow: string }
)

/** What the contract's paths take; OPTIONS gets the true status, as HAProxy's `option httpchk` asks with it … */
export const allowed = 'GET, HEAD, OPTIONS'
/** … and so a page takes none: HAProxy asks for / unless told otherwise, and a page is there whatever the database. */
const allowedOnPages = 'GET, HEAD'

/**
 * Routes a request. The target is compared as it came: nothing is decoded, so nothing can be decoded wrongly
 * (`new URL` takes `//x/health` for a host, and throws on `//`).
 *
 * @param target as in the request line: `/health?x`, or `http://host/health`, the absolute form of proxies.
 * @param pages the paths that there are besides those of the contract.
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
  ['/livez', { kind: 'alive', path: '/livez' }],
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

/** Every path that a request can be counted under, given the paths of the pages. */
export function pathsOf(pages: Iterable<string>): { path: string; statuses?: number[] }[] {
  const paths = [...contract.values()].map(route => route.path)
  const roles = new Set([...contract.values()].filter(({ kind }) => kind === 'role').map(({ path }) => path))
  const all = new Set([...paths, ...pages, 'other'])
  return [...all].map(path => (roles.has(path) ? { path, statuses: [400, 503] } : { path }))
}
