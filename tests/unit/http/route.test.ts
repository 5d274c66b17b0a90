// The table of routes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Pages, pathsOf, type Route, routeOf } from '../../../lib/http/route.ts'

const pages: Pages = new Map([['/metrics', () => ({ status: 200, body: '' })]])
const kindOf = (method: string, target: string) => routeOf(method, target, pages).kind

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
  for (const target of ['/health', '/health/', '/readyz', '/livez']) {
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
  const pathOf = (method: string, target: string) => routeOf(method, target, pages).path
  assert.equal(pathOf('GET', '/health/?x=1'), '/health')
  assert.equal(pathOf('PUT', 'http://h/readyz'), '/readyz')
  assert.equal(pathOf('GET', '/metrics'), '/metrics')
  assert.equal(pathOf('GET', '/constructor'), 'other')
  assert.deepEqual(pathsOf(pages.keys()), ['/health', '/readyz', '/livez', '/metrics', 'other'])
})

test('routeOf() has no page except those it is given', () => {
  assert.equal(routeOf('GET', '/metrics', new Map()).kind, 'not_found')
})

test('routeOf() refuses OPTIONS on a page, where HAProxy would see 200 while the database is down', () => {
  assert.equal(routeOf('HEAD', '/metrics', pages).kind, 'page')
  assert.deepEqual(routeOf('OPTIONS', '/metrics', pages), {
    kind: 'method_not_allowed',
    path: '/metrics',
    allow: 'GET, HEAD',
  })
})
