// deploy/quadlet: podman's own generator takes it, and its health check is the image's.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const folder = new URL('../../deploy/quadlet/', import.meta.url)
const unit = readFileSync(new URL('pg-health.container', folder), 'utf8')
const containerfile = readFileSync(new URL('../../Containerfile', import.meta.url), 'utf8')

/** The last value of a key; units have no key twice in two sections here. */
function settingOf(key: string): string | undefined {
  return unit.match(new RegExp(`^${key}=(.*)$`, 'm'))?.[1]
}

test("the unit's health check is that of Containerfile, which podman's image format drops", () => {
  const [, interval, timeout, startPeriod, command = ''] =
    /^HEALTHCHECK --interval=(\w+) --timeout=(\w+) --start-period=(\w+) \\\n {2}CMD (.+)$/m.exec(
      containerfile,
    ) ?? []
  assert.deepEqual(JSON.parse(settingOf('HealthCmd') ?? ''), JSON.parse(command))
  assert.deepEqual(
    [settingOf('HealthInterval'), settingOf('HealthTimeout'), settingOf('HealthStartPeriod')],
    [interval, timeout, startPeriod],
  )
})

test('the unit hands over the URL as the secret that DATABASE_URL_FILE names, readable for the user of the image', () => {
  const [secret = '', ...options] = settingOf('Secret')?.split(',') ?? []
  assert.equal(settingOf('Environment'), `DATABASE_URL_FILE=/run/secrets/${secret}`)
  const user = /^USER (\d+)$/m.exec(containerfile)?.[1]
  assert.deepEqual(options, [`uid=${user}`, 'mode=0400'])
})

test("podman's generator makes a service of the unit, in which it knows every key", t => {
  const generator = ['/usr/libexec/podman/quadlet', '/usr/lib/podman/quadlet'].find(path => existsSync(path))
  if (generator === undefined) return t.skip("podman's quadlet (4.4 or newer) is not installed")
  const { status, stdout, stderr } = spawnSync(generator, ['-dryrun', '-user'], {
    env: { QUADLET_UNIT_DIRS: fileURLToPath(folder) },
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  assert.doesNotMatch(stderr, /unsupported|error/i)
  assert.match(stdout, /^ExecStart=.*podman run .*--read-only .*--health-cmd/m)
})
