// The official PostgreSQL image, our own image, compose.yaml and the quadlet, where a container runtime answers.
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  addPostgres,
  baseImages,
  buildImage,
  createCleanup,
  findCompose,
  findRuntime,
  image,
  postgresImage,
  runOurs,
  startOurs,
  startPostgres,
  untilHealth,
  urlOf,
} from '../support/containers.ts'
import { ask, startServer } from '../support/server.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const quadlet = readFileSync(join(root, 'deploy/quadlet/pg-health.container'), 'utf8')
const containerfile = readFileSync(join(root, 'Containerfile'), 'utf8')
const healthy = '{"status": "healthy","database": "connected"}'
const stopping = '{"status": "unhealthy","error": "server is shutting down"}'
const labels = { VERSION: '1.2.3-test', REVISION: 'a'.repeat(40), CREATED: '2026-11-22T00:00:00Z' }
/** The first run fetches images, and npm packages for our image. */
const guard = { timeout: 600_000 }

/** The value of a key of the quadlet unit, which has no key twice. */
function settingOf(key: string): string | undefined {
  return quadlet.match(new RegExp(`^${key}=(.*)$`, 'm'))?.[1]
}

test("quadlet: the health check is that of Containerfile, which podman's image format drops", () => {
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

test('quadlet: the URL is the secret that DATABASE_URL_FILE names, and the user of the image can read it', () => {
  const [secret = '', ...options] = settingOf('Secret')?.split(',') ?? []
  assert.equal(settingOf('Environment'), `DATABASE_URL_FILE=/run/secrets/${secret}`)
  const user = /^USER (\d+)$/m.exec(containerfile)?.[1]
  assert.deepEqual(options, [`uid=${user}`, 'mode=0400'])
})

test("quadlet: podman's own generator knows every key and makes a service", t => {
  const generator = ['/usr/libexec/podman/quadlet', '/usr/lib/podman/quadlet'].find(path => existsSync(path))
  if (generator === undefined) return t.skip("podman's quadlet (4.4 or newer) is not installed")
  const { status, stdout, stderr } = spawnSync(generator, ['-dryrun', '-user'], {
    env: { QUADLET_UNIT_DIRS: join(root, 'deploy/quadlet') },
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  assert.doesNotMatch(stderr, /unsupported|error/i)
  assert.match(stdout, /^ExecStart=.*podman run .*--read-only .*--health-cmd/m)
})

/** The runtime with our image built; undefined, and the test skipped, without. */
async function findOurs(t: TestContext) {
  const runtime = await findRuntime(t, [postgresImage, ...baseImages()])
  if (runtime) await buildImage(runtime, labels)
  return runtime
}

test(
  'official PostgreSQL image: healthy, unhealthy while paused, healthy on the first request after',
  guard,
  async t => {
    const runtime = await findRuntime(t, [postgresImage])
    if (!runtime) return
    const later = createCleanup(t)
    const { container } = await startPostgres(later, runtime)
    const url = urlOf(container.getHost(), container.getMappedPort(5432))
    const server = await startServer({ DATABASE_URL: url })
    later(() => server.stop())

    const first = await ask(`${server.origin}/health`)
    assert.deepEqual([first.status, first.body], [200, healthy])
    assert.equal(first.headers['content-length'], '45')

    const handle = runtime.client.container.getById(container.getId())
    await handle.pause()
    const paused = await ask(`${server.origin}/health`)
    await handle.unpause()
    assert.equal(paused.status, 503)
    assert.match(paused.body, /timed out/)

    const last = await ask(`${server.origin}/health`)
    assert.deepEqual([last.status, last.body], [200, healthy])
  },
)

test('our image adds at most 1.5 MB to its base, and holds nothing but the program', guard, async t => {
  const runtime = await findOurs(t)
  if (!runtime) return
  const { client, ImageName } = runtime
  const [, base = ''] = baseImages()
  const ours = await client.image.inspect(ImageName.fromString(image))
  const { Size: baseSize } = await client.image.inspect(ImageName.fromString(base))
  assert.ok(ours.Size - baseSize <= 1_500_000, `${ours.Size - baseSize} bytes above ${base}`)

  const list = `console.log(fs.readdirSync('/app', { recursive: true }).join())`
  const { output } = await runOurs(runtime, {
    env: [],
    command: ['/nodejs/bin/node', '--eval', list],
  })
  const files = output.trim().split(',')
  const surplus = files.filter(
    file =>
      !/^(LICENSE|package\.json|(dist(\/[\w-]+\.js)?))$/.test(file) &&
      !/^node_modules(\/postgres(\/package\.json)?)?$/.test(file),
  )
  assert.deepEqual(surplus, [])
  assert.ok(files.includes('dist/server.js') && files.includes('LICENSE'), output)

  const { Labels, User, Healthcheck, Cmd } = ours.Config
  assert.deepEqual([User, Cmd], ['65532', null])
  assert.deepEqual(Healthcheck?.Test, ['CMD', '/nodejs/bin/node', 'dist/server.js', 'check'])
  for (const [name, value] of Object.entries(labels)) {
    assert.equal(Labels[`org.opencontainers.image.${name.toLowerCase()}`], value)
  }
  assert.equal(Labels['org.opencontainers.image.licenses'], 'MIT')
})

test(
  'our image, locked down: a paused database means 503 in time and an unhealthy container',
  guard,
  async t => {
    const runtime = await findOurs(t)
    if (!runtime) return
    const later = createCleanup(t)
    const { network, container: database } = await startPostgres(later, runtime)
    const { container, handle, origin } = await startOurs(later, runtime, network, { DRAIN_MS: '0' })

    const { status, body } = await ask(`${origin}/health`)
    assert.deepEqual([status, body], [200, healthy])
    const owner = await container.exec(['/nodejs/bin/node', '-p', 'fs.statSync("/proc/1").uid'])
    assert.equal(owner.output.trim(), '65532')
    const check = await container.exec(['/nodejs/bin/node', 'dist/server.js', 'check'])
    assert.deepEqual([check.exitCode, check.output], [0, '✓ API is healthy\n'])

    const frozen = runtime.client.container.getById(database.getId())
    await frozen.pause()
    const paused = await ask(`${origin}/health`)
    assert.equal(paused.status, 503)
    assert.ok(Number(paused.headers['x-process-time-ms']) <= 2_500, 'HEALTH_TIMEOUT_MS, and slack')
    await untilHealth(runtime, handle, 'unhealthy')
    const { State } = await handle.inspect()
    assert.match(State.Health?.Log.at(-1)?.Output ?? '', /^✗ API unhealthy: .+ timed out\n$/)
    assert.equal((await ask(`${origin}/livez`)).status, 200)

    await frozen.unpause()
    const healed = await ask(`${origin}/health`)
    assert.deepEqual([healed.status, healed.body], [200, healthy])
    await untilHealth(runtime, handle, 'healthy')

    await container.stop({ remove: false, timeout: 30_000 })
    assert.deepEqual(exitOf(await handle.inspect()), { code: 0, outOfMemory: false })
  },
)

test('our image finds a database that was recreated at another address', guard, async t => {
  const runtime = await findOurs(t)
  if (!runtime) return
  const later = createCleanup(t)
  const { network, container: first } = await startPostgres(later, runtime)
  const { origin } = await startOurs(later, runtime, network, { DRAIN_MS: '0' })
  assert.equal((await ask(`${origin}/health`)).status, 200)
  const name = network.getName()

  await first.stop()
  const removedAt = performance.now()
  const gone = await ask(`${origin}/health`)
  assert.deepEqual([gone.status, /unreachable|timed out/.test(gone.body)], [503, true], gone.body)
  // Takes the free address, so that the new database gets another one.
  const settler = await new runtime.GenericContainer(image)
    .withEntrypoint(['/nodejs/bin/node', '--eval', 'setInterval(() => {}, 1000)'])
    .withNetwork(network)
    .start()
  later(() => settler.stop())
  const second = await addPostgres(later, runtime, network)
  assert.notEqual(second.getIpAddress(name), first.getIpAddress(name))

  for (let answer = gone; answer.status !== 200; ) {
    answer = await ask(`${origin}/health`)
    const waitedMs = performance.now() - removedAt
    assert.ok(answer.status === 200 || waitedMs < 60_000, `after ${waitedMs} ms: ${answer.body}`)
  }
})

test(
  'docker stop under load: 503 during the drain of 5 s, then exit 0, before the 10 s of docker',
  guard,
  async t => {
    const runtime = await findOurs(t)
    if (!runtime) return
    const later = createCleanup(t)
    const { network } = await startPostgres(later, runtime)
    const { handle, origin } = await startOurs(later, runtime, network)

    const clients = Array.from({ length: 8 }, () => askUntilCut(`${origin}/health`))
    await ask(`${origin}/health`)
    const calledAt = performance.now()
    // As `docker stop` does: SIGTERM, and SIGKILL (exit 137) 10 s later.
    await handle.stop({ t: 10 })
    const tookMs = performance.now() - calledAt
    assert.deepEqual(exitOf(await handle.inspect()), { code: 0, outOfMemory: false })
    assert.ok(tookMs < 10_000, `${tookMs} ms`)
    for (const { told, cutAt } of await Promise.all(clients)) {
      assert.deepEqual(told, [healthy, stopping])
      assert.ok(cutAt - calledAt >= 5_000, `cut off ${cutAt - calledAt} ms after the stop was called for`)
    }
  },
)

test('bad input in a container: one line that says what is wrong, and its exit code', guard, async t => {
  const runtime = await findOurs(t)
  if (!runtime) return
  const later = createCleanup(t)
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-'))
  later(async () => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'url'), urlOf('database', 5432), { mode: 0o600 })
  chmodSync(folder, 0o755)
  const secret = await runOurs(runtime, {
    env: ['DATABASE_URL_FILE=/secret/url'],
    hostConfig: { Binds: [`${folder}:/secret:ro`] },
  })
  assert.deepEqual(secret, {
    code: 78,
    output: 'pg-health: DATABASE_URL_FILE names a file that cannot be read (EACCES)\n',
  })

  const { network } = await startPostgres(later, runtime)
  const { handle } = await startOurs(later, runtime, network, { DRAIN_MS: '0' })
  const taken = await runOurs(runtime, {
    env: ['DATABASE_URL=postgres://x@127.0.0.1:1/x', 'LOG_LEVEL=error', 'LOG_FORMAT=text'],
    hostConfig: { NetworkMode: `container:${handle.id}` },
  })
  assert.equal(taken.code, 1)
  assert.match(taken.output, /^\S+ error can't listen on port 8000: EADDRINUSE\n$/)
})

test(
  'compose.yaml: both come up healthy, with the password in a file and read-only roots',
  guard,
  async t => {
    const runtime = await findOurs(t)
    const compose = runtime && findCompose(t)
    if (!compose) return
    const later = createCleanup(t)
    const secrets = mkdtempSync(join(tmpdir(), 'pg-health-'))
    later(async () => rmSync(secrets, { recursive: true }))
    // The official image reads this file; a stand-in for it may have this password built in.
    writeFileSync(join(secrets, 'password'), 'postgres\n')
    chmodSync(join(secrets, 'password'), 0o644)
    const env = { ...process.env, PG_HEALTH_IMAGE: image, PG_HEALTH_PORT: '0', PG_HEALTH_SECRETS: secrets }
    const [program, ...words] = compose
    const project = [...words, '--project-name', `pg-health-${process.pid}`]
    const run = (...args: string[]) =>
      promisify(execFile)(program, [...project, ...args], { cwd: root, env, timeout: 120_000 })
    later(() => run('down', '--volumes', '--timeout', '15'))
    await run('up', '--detach', '--no-build')

    for (const service of ['database', 'pg-health']) {
      const id = (await run('ps', '--quiet', service)).stdout.trim()
      const handle = runtime.client.container.getById(id)
      await untilHealth(runtime, handle, 'healthy')
      assert.equal((await handle.inspect()).HostConfig.ReadonlyRootfs, true)
    }
    const address = (await run('port', 'pg-health', '8000')).stdout.trim()
    const { status, body } = await ask(`http://${address}/health`)
    assert.deepEqual([status, body], [200, healthy])
  },
)

/** One client that asks on new connections until it is refused. Gives its different answers in order, and the time. */
async function askUntilCut(url: string) {
  const told: string[] = []
  for (;;) {
    try {
      const { body } = await ask(url)
      if (body !== told.at(-1)) told.push(body)
    } catch {
      return { told, cutAt: performance.now() }
    }
  }
}

function exitOf({ State }: { State: { ExitCode: number; OOMKilled: boolean } }) {
  return { code: State.ExitCode, outOfMemory: State.OOMKilled }
}
