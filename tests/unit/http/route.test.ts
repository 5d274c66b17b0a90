// The table of routes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pathsOf, type Route, routeOf, routesOf } from '../../../lib/http/route.ts'

const pages = new Map([['/metrics', () => ({ status: 200, body: '' })]])
const routes = routesOf({ roles: 'served', pages })
const kindOf = (method: string, target: string) => routeOf(method, target, routes).kind

const targets: Record<Exclude<Route['kind'], 'method_not_allowed'>, readonly string[]> = {
  health: [
    '/health',
    '/health/',
    '/readyz',
    '/readyz/',
    '/health?',
    '/health?x=/y',
    '/health/?x#y',
    '/readyz?verbose',
    '/health?/livez',
    'http://any.host/health',
    'https://any.host:8000/health?x',
    'HTTP://user:password@[::1]:80/readyz',
    'http:///health',
  ],
  role: [
    '/primary',
    '/primary/',
    '/primary?',
    '/read-write',
    '/read-write/',
    '/replica',
    '/replica/',
    '/replica?',
    '/replica?lag=0',
    '/replica/?lag=1048576',
    '/replica?lag=5B',
    '/replica?lag=16MB',
    'http://any.host/replica?lag=999999999999999TB',
  ],
  bad_query: [
    '/primary?lag=1',
    '/primary?x',
    '/read-write?lag=16MB',
    '/replica?x',
    '/replica?lag',
    '/replica?lag=',
    '/replica?lag=-1',
    '/replica?lag=+1',
    '/replica?lag=1.5MB',
    '/replica?lag=1e6',
    '/replica?lag=16mb',
    '/replica?lag=16KB',
    '/replica?lag=16M',
    '/replica?lag=16%20MB',
    '/replica?lag=16%4DB',
    '/replica?lag=1000000000000000',
    '/replica?lag=1&lag=2',
    '/replica?lag=1&',
    '/replica?&lag=1',
    '/replica?LAG=1',
    '/replica?lag=1#x',
    '/replica?lag=1?',
    '/replica??lag=1',
    '/replica?lag=1&replication_state=streaming',
  ],
  page: ['/metrics', '/metrics?x', 'http://h/metrics'],
  alive: ['/livez', '/livez/', '/livez?x=/health', 'http://h/livez'],
  not_found: [
    '',
    '*',
    '/',
    '//',
    '//health',
    '///health',
    '//host/health',
    '/Health',
    '/HEALTH',
    'health',
    '/health//',
    '/health/x',
    '/healthz',
    '/healthy',
    '/readyz//',
    '/livez//',
    '/%68ealth',
    '/%zz',
    '/health%3Fx',
    '/health%00',
    '/health;x',
    '/health#x',
    '#frag',
    '?/health',
    '/x/../health',
    '/./health',
    '/x/health',
    'http://h',
    'http://h?/health',
    'http://h#/health',
    'http://h//health',
    'http:/health',
    'ftp://h/health',
    'h:80/health',
    'xhttp://h/health',
    '/healthhttp://h/',
    'constructor',
    '__proto__',
    '/constructor',
    '/__proto__',
    'toString',
  ],
}

for (const [kind, rows] of Object.entries(targets)) {
  test(`routeOf() takes for ${kind}: ${rows.map(row => row || '(nothing)').join(' ')}`, () => {
    for (const target of rows) assert.equal(kindOf('GET', target), kind, target)
  })
}

test('routeOf() takes the target up to the first ?', () => {
  assert.equal(kindOf('GET', '/health?a?b'), 'health')
  assert.equal(kindOf('GET', '/livez?/../health?x'), 'alive')
})

test('routeOf() gives GET, HEAD and OPTIONS the same route, and allows no other method', () => {
  const paths = [
    '/health',
    '/health/',
    '/readyz',
    '/livez',
    '/primary',
    '/read-write',
    '/replica',
    '/replica?x',
  ]
  for (const target of paths) {
    const kind = kindOf('GET', target)
    for (const method of ['HEAD', 'OPTIONS']) assert.equal(kindOf(method, target), kind)
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'QUERY', 'get', '']) {
      assert.equal(kindOf(method, target), 'method_not_allowed', `${method} ${target}`)
    }
  }
})

test('routeOf() says "not found" before "not allowed"', () => {
  assert.equal(kindOf('POST', '/nowhere'), 'not_found')
})

test('routeOf() counts every request under a path of pathsOf(), whatever the client wrote', () => {
  const pathOf = (method: string, target: string) => routeOf(method, target, routes).countedAs
  assert.equal(pathOf('GET', '/health/?x=1'), '/health')
  assert.equal(pathOf('PUT', 'http://h/readyz'), '/readyz')
  assert.equal(pathOf('GET', '/metrics'), '/metrics')
  assert.equal(pathOf('GET', '/constructor'), 'other')
  assert.equal(pathOf('GET', '/replica/?lag=1'), '/replica')
  assert.equal(pathOf('GET', '/replica?nonsense'), '/replica')
  assert.deepEqual(pathsOf(routes), [
    { path: '/health' },
    { path: '/readyz' },
    { path: '/livez' },
    { path: '/primary', statuses: [400, 503] },
    { path: '/read-write', statuses: [400, 503] },
    { path: '/replica', statuses: [400, 503] },
    { path: '/metrics' },
    { path: 'other' },
  ])
})

test('routeOf() reads the limit of the lag in bytes: kB, MB, GB and TB are powers of 1024', () => {
  const limits: [text: string, bytes: number | undefined][] = [
    ['', undefined],
    ['?lag=0', 0],
    ['?lag=1048576', 1_048_576],
    ['?lag=7B', 7],
    ['?lag=2kB', 2_048],
    ['?lag=16MB', 16_777_216],
    ['?lag=1GB', 1_073_741_824],
    ['?lag=3TB', 3_298_534_883_328],
  ]
  for (const [query, bytes] of limits) {
    const route = routeOf('GET', `/replica${query}`, routes)
    const wish = bytes === undefined ? { role: 'standby' } : { role: 'standby', maxLagBytes: bytes }
    assert.deepEqual(route, { kind: 'role', countedAs: '/replica', wish }, query)
  }
})

test('routesOf() has no page except those it is given, and no path for a role if they are absent', () => {
  const few = routesOf({ roles: 'absent', pages: new Map() })
  for (const target of ['/metrics', '/primary', '/replica?lag=1', '/read-write/']) {
    assert.equal(routeOf('GET', target, few).kind, 'not_found', target)
  }
  assert.deepEqual(pathsOf(few), [
    { path: '/health' },
    { path: '/readyz' },
    { path: '/livez' },
    { path: 'other' },
  ])
})

test('routesOf() has all paths below the prefix, and none without it', () => {
  const below = routesOf({ roles: 'served', pages, prefix: '/internal' })
  for (const path of ['/health', '/livez/', '/replica', '/metrics']) {
    assert.notEqual(routeOf('GET', `/internal${path}`, below).kind, 'not_found', path)
    assert.notEqual(routeOf('GET', `http://h/internal${path}?x`, below).kind, 'not_found', path)
    assert.equal(routeOf('GET', path, below).kind, 'not_found', path)
    assert.equal(routeOf('GET', `http://h${path}`, below).kind, 'not_found', path)
  }
  for (const path of ['/internal', '/internal/internal/health', '/INTERNAL/health']) {
    assert.equal(routeOf('GET', path, below).kind, 'not_found', path)
  }
  assert.equal(routeOf('GET', '/internal/metrics', below).countedAs, '/metrics')
  assert.deepEqual(pathsOf(below), pathsOf(routes))
})

test('routesOf() has the check where the prefix is the path of a check, and not the page /', () => {
  const home = new Map([...pages, ['/', () => ({ status: 200, body: '' })] as const])
  for (const [prefix, kind] of [
    ['/health', 'health'],
    ['/readyz', 'health'],
    ['/livez', 'alive'],
    ['/primary', 'role'],
  ] as const) {
    const below = routesOf({ roles: 'served', pages: home, prefix })
    for (const path of [prefix, `${prefix}/`]) assert.equal(routeOf('GET', path, below).kind, kind, path)
    assert.equal(routeOf('GET', `${prefix}/health`, below).kind, 'health')
    assert.equal(routeOf('GET', `${prefix}/metrics`, below).kind, 'page')
  }
  const plain = routesOf({ roles: 'served', pages: home })
  assert.equal(routeOf('GET', '/', plain).kind, 'page')
})

test('routeOf() refuses OPTIONS on a page, where HAProxy would see 200 while the database is down', () => {
  assert.equal(routeOf('HEAD', '/metrics', routes).kind, 'page')
  assert.deepEqual(routeOf('OPTIONS', '/metrics', routes), {
    kind: 'method_not_allowed',
    countedAs: '/metrics',
    allow: 'GET, HEAD',
  })
})
