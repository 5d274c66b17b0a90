// Every way to write HAProxy's HTTP check: the real HAProxy takes the server out and puts it back.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFolder, openService, startProgram } from '../support/consumers.ts'
import { findTool } from '../support/tools.ts'

const checks = [
  'option httpchk /health',
  'option httpchk GET /health',
  'option httpchk GET /health HTTP/1.1',
  'option httpchk HEAD /readyz/ HTTP/1.1',
  'option httpchk GET /health HTTP/1.1\\r\\nHost:\\ pg-health',
  'option httpchk\n  http-check send meth GET uri /health/ ver HTTP/1.1',
  'option httpchk\n  http-check send meth OPTIONS uri /health ver HTTP/1.1 hdr Host pg-health',
]

test('HAProxy marks the server down and up again, however its HTTP check is written', async t => {
  const haproxy = findTool(t, 'haproxy')
  if (haproxy === undefined) return
  const { postgres, server } = await openService(t)
  const { host } = new URL(server.origin)
  const backends = checks.map(
    (check, index) => `backend b${index}\n  ${check}\n  server one ${host} check inter 200ms fall 2 rise 1\n`,
  )
  const folder = openFolder(t)
  const file = join(folder, 'haproxy.cfg')
  // HAProxy does not start without a listener.
  const frontend = `frontend front\n  bind unix@${join(folder, 'front')}\n  default_backend b0\n`
  const defaults =
    'defaults\n  mode http\n  timeout connect 5s\n  timeout check 10s\n  timeout client 5s\n  timeout server 5s\n'
  writeFileSync(
    file,
    `global\n  log stderr format raw daemon\n${defaults}  log global\n${frontend}${backends.join('')}`,
  )
  const program = startProgram(t, haproxy, ['-f', file])
  const all = (pattern: (backend: string) => RegExp, from: number) =>
    Promise.all(checks.map((_, index) => program.said(pattern(`b${index}`), from)))

  let from = program.output().length
  await postgres.stop()
  for (const line of await all(backend => new RegExp(`Server ${backend}/one is DOWN.*`), from)) {
    assert.match(line, /Layer7 wrong status, code: 503/)
  }
  from = program.output().length
  await postgres.start()
  await all(
    backend => new RegExp(`Server ${backend}/one is UP, reason: Layer7 check passed, code: 200`),
    from,
  )
})
