// The official PostgreSQL image, and our own, wherever a container runtime answers.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ask, startServer } from './support/server.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const image = 'pg-health:test'
const postgresImage = 'postgres:18-alpine'
const healthy = '{"status": "healthy","database": "connected"}'
/** The first run fetches images, and npm's packages for ours. */
const guard = { timeout: 600_000 }

/** The library, and the runtime that it found, with `images` at hand; undefined, and the test skipped, without. */
async function findRuntime(t: TestContext, images: readonly string[]) {
  const containers = await import('testcontainers')
  try {
    const client = await containers.getContainerRuntimeClient()
    // The library's own container, which cleans up after a test that was killed.
    await containers.getReaper(client)
    for (const name of images) await client.image.pull(containers.ImageName.fromString(name))
    return { ...containers, client }
  } catch (error) {
    if (/\bcontainers\b/.test(process.env['PG_HEALTH_REQUIRE'] ?? '')) throw error
    t.skip(`no container can run here: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}

/** What is registered is undone when the test is over, the last thing first: a network after who is on it. */
function createCleanup(t: TestContext) {
  const steps: (() => Promise<unknown>)[] = []
  t.after(async () => {
    for (const step of steps.reverse()) await step()
  })
  return (step: () => Promise<unknown>) => steps.push(step)
}

type Runtime = NonNullable<Awaited<ReturnType<typeof findRuntime>>>
type Cleanup = ReturnType<typeof createCleanup>
/** PostgreSQL as its maintainers ship it, with a password, on a network of its own where it is called `database`. */
async function startPostgres(later: Cleanup, { GenericContainer, Network }: Runtime) {
  const network = await new Network().start()
  later(() => network.stop())
  const container = await new GenericContainer(postgresImage)
    .withEnvironment({ POSTGRES_PASSWORD: 's@cret/1' })
    .withNetwork(network)
    .withNetworkAliases('database')
    .withExposedPorts(5432)
    .start()
  later(() => container.stop())
  return { network, container }
}

function urlOf(host: string, port: number) {
  return `postgres://postgres:${encodeURIComponent('s@cret/1')}@${host}:${port}/postgres`
}

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
    await build(runtime)
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

/** What Containerfile begins with. */
function baseImages(): string[] {
  const text = readFileSync(`${root}Containerfile`, 'utf8')
  return [...text.matchAll(/^ARG \w+_IMAGE=(\S+)/gm)].map(([, name = '']) => name)
}

/** The image stays: the next build takes from it what has not changed. */
async function build({ client, ImageName }: Runtime) {
  // On the host's network, as a builder without one of its own can't ask npm's registry.
  await client.image.build(root, { t: image, dockerfile: 'Containerfile', networkmode: 'host' })
  const built = await client.image.exists(ImageName.fromString(image))
  assert(built, 'the build failed; to see why: docker build --network host -f Containerfile .')
}

/** As a careful host runs it: --read-only --cap-drop ALL --security-opt no-new-privileges. */
function lockedDown({ GenericContainer }: Runtime) {
  return class extends GenericContainer {
    constructor(name: string) {
      super(name)
      this.hostConfig.ReadonlyRootfs = true
      this.withDroppedCapabilities('ALL').withSecurityOpt('no-new-privileges')
    }
  }
}
