// A HOST that is set to something unexpected: by a shell, or to a link-local address.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runServer } from '../support/server.ts'

const hosts: [name: string, host: string][] = [
  ['a name that does not exist', 'no-such-host.invalid'],
  ['an address of another machine', '192.0.2.1'],
  ['an interface that does not exist', 'fe80::1%none0'],
]
for (const [name, host] of hosts) {
  test(`HOST is ${name}: the error names HOST and what it must be, exit 1`, async () => {
    const { code, stdout } = await runServer([], {
      HOST: host,
      PORT: '0',
      DATABASE_URL: 'postgres://x@127.0.0.1:1/x',
    })
    const message = /"can't listen: HOST must be an address of this machine, or a name for one \([A-Z_]+\)"/
    assert.match(stdout, message)
    assert.equal(code, 1)
  })
}

test('check with a zone in HOST prints one line, exit 1', async () => {
  const { code, stdout, stderr } = await runServer(['check'], { HOST: 'fe80::1%none0', PORT: '1' })
  assert.match(stdout, /^✗ Health check failed: [ -~]+\n$/)
  assert.deepEqual({ code, stderr }, { code: 1, stderr: '' })
})
