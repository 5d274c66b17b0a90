// The official PostgreSQL image, and our own, wherever a container runtime answers.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  baseImages,
  buildImage,
  createCleanup,
  findRuntime,
  image,
  lockedDown,
  postgresImage,
  startPostgres,
  urlOf,
} from './support/containers.ts'
import { ask, startServer } from './support/server.ts'

const healthy = '{"status": "healthy","database": "connected"}'
/** The first run fetches images, and npm's packages for ours. */
const guard = { timeout: 600_000 }

test(
  'the official PostgreSQL image: healthy, unhealthy while it is paused, healed by the first probe after',
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

test(
  'our own image: locked down, healthy by its own check, and SIGTERM ends it with exit 0',
  guard,
  async t => {
    const runtime = await findRuntime(t, [postgresImage, ...baseImages()])
    if (!runtime) return
    const later = createCleanup(t)
    const { client } = runtime
    await buildImage(runtime)
    const { network } = await startPostgres(later, runtime)
    const container = await new (lockedDown(runtime))(image)
      .withEnvironment({ DATABASE_URL: urlOf('database', 5432), DRAIN_MS: '0' })
      .withNetwork(network)
      .withExposedPorts(8000)
      // The image's own HEALTHCHECK has to say so.
      .withWaitStrategy(runtime.Wait.forHealthCheck())
      .withAutoRemove(false)
      .start()
    const handle = client.container.getById(container.getId())
    later(() => handle.remove({ force: true }))

    const { status, body } = await ask(
      `http://${container.getHost()}:${container.getMappedPort(8000)}/health`,
    )
    assert.deepEqual([status, body], [200, healthy])
    const owner = await container.exec(['/nodejs/bin/node', '-p', 'fs.statSync("/proc/1").uid'])
    assert.equal(owner.output.trim(), '65532')
    const check = await container.exec(['/nodejs/bin/node', 'dist/server.js', 'check'])
    assert.deepEqual([check.exitCode, check.output], [0, '✓ API is healthy\n'])

    await container.stop({ remove: false, timeout: 30_000 })
    assert.equal((await handle.inspect()).State.ExitCode, 0)
  },
)
