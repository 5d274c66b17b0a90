// The official PostgreSQL image and ours, through testcontainers. Without a runtime tests are skipped, but not in CI.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { StartedNetwork } from 'testcontainers'
import { isRequired, type Kind } from './tools.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
/** Our image. The environment names it where several checkouts share one engine. */
export const image = process.env['PG_HEALTH_TEST_IMAGE'] ?? 'pg-health:test'
export const postgresImage = 'postgres:18-alpine'

/** The library, and the runtime that it found, with `images` at hand; undefined, and the test skipped, without. */
export async function findRuntime(t: TestContext, images: readonly string[], kind: Kind = 'containers') {
  const containers = await import('testcontainers')
  try {
    const client = await containers.getContainerRuntimeClient()
    // The library's own container, which cleans up after a test that was killed.
    await containers.getReaper(client)
    for (const name of images) await client.image.pull(containers.ImageName.fromString(name))
    return { ...containers, client }
  } catch (error) {
    if (isRequired(kind)) throw error
    t.skip(`no container can run here: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}

/** Undoes what is registered when the test is over, last things first: a network after the containers on it. */
export function createCleanup(t: TestContext) {
  const steps: (() => Promise<unknown>)[] = []
  t.after(async () => {
    for (const step of steps.reverse()) await step()
  })
  return (step: () => Promise<unknown>) => steps.push(step)
}

export type Runtime = NonNullable<Awaited<ReturnType<typeof findRuntime>>>
export type Cleanup = ReturnType<typeof createCleanup>
type Handle = ReturnType<Runtime['client']['container']['getById']>

/** The official PostgreSQL image with a password, on a new network where its name is `database`. */
export async function startPostgres(later: Cleanup, runtime: Runtime) {
  const network = await new runtime.Network().start()
  later(() => network.stop())
  return { network, container: await addPostgres(later, runtime, network) }
}

/** Another PostgreSQL on that network, with the same name. */
export async function addPostgres(later: Cleanup, { GenericContainer }: Runtime, network: StartedNetwork) {
  const container = await new GenericContainer(postgresImage)
    .withEnvironment({ POSTGRES_PASSWORD: 's@cret/1' })
    .withNetwork(network)
    .withNetworkAliases('database')
    .withExposedPorts(5432)
    .start()
  later(() => container.stop())
  return container
}

/** The URL of that PostgreSQL at `host` and `port`. */
export function urlOf(host: string, port: number) {
  return `postgres://postgres:${encodeURIComponent('s@cret/1')}@${host}:${port}/postgres`
}

/** The images that Containerfile builds on. */
export function baseImages(): string[] {
  const text = readFileSync(`${root}Containerfile`, 'utf8')
  return [...text.matchAll(/^ARG \w+_IMAGE=(\S+)/gm)].map(([, name = '']) => name)
}

/** Builds our image. It is kept, so that the next build is quick. */
export async function buildImage({ client, ImageName }: Runtime, buildargs: Record<string, string> = {}) {
  // On the host's network: a builder that has no network of its own could not reach the npm registry.
  await client.image.build(root, { t: image, dockerfile: 'Containerfile', networkmode: 'host', buildargs })
  const built = await client.image.exists(ImageName.fromString(image))
  assert(built, 'the build failed; to see why: docker build --network host -f Containerfile .')
}

/** A container like that of --read-only --cap-drop ALL --security-opt no-new-privileges --memory 96m. */
export function lockedDown({ GenericContainer }: Runtime) {
  return class extends GenericContainer {
    constructor(name: string) {
      super(name)
      this.hostConfig.ReadonlyRootfs = true
      this.hostConfig.Memory = 96 * 1024 * 1024
      this.withDroppedCapabilities('ALL').withSecurityOpt('no-new-privileges')
    }
  }
}

/** Our image, locked down, beside the database of `network`, and healthy by its own check. */
export async function startOurs(
  later: Cleanup,
  runtime: Runtime,
  network: StartedNetwork,
  settings: Record<string, string> = {},
) {
  const container = await new (lockedDown(runtime))(image)
    .withEnvironment({ DATABASE_URL: urlOf('database', 5432), ...settings })
    .withNetwork(network)
    .withExposedPorts(8000)
    .withWaitStrategy(runtime.Wait.forHealthCheck())
    .withAutoRemove(false)
    .start()
  const handle = runtime.client.container.getById(container.getId())
  later(() => handle.remove({ force: true }))
  return { container, handle, origin: `http://${container.getHost()}:${container.getMappedPort(8000)}` }
}

/** Resolves when the engine reports this health of the container, now or later. */
export async function untilHealth({ client }: Runtime, handle: Handle, status: 'healthy' | 'unhealthy') {
  const events = await client.container.events(handle, ['health_status'])
  try {
    const { State } = await handle.inspect()
    if (State.Health?.Status === status) return
    for await (const chunk of events) if (String(chunk).includes(`health_status: ${status}"`)) return
    assert.fail(`the engine's events ended before the container was ${status}`)
  } finally {
    events.destroy()
  }
}

interface RunOptions {
  readonly env: readonly string[]
  /** What runs instead of the server. */
  readonly command?: readonly string[]
  readonly hostConfig?: object
}

/** Runs our image to its end. Resolves with its exit code and what it wrote. */
export async function runOurs({ client }: Runtime, options: RunOptions) {
  const handle = await client.container.create({
    Image: image,
    Env: [...options.env],
    ...(options.command && { Entrypoint: [...options.command] }),
    HostConfig: { ReadonlyRootfs: true, ...options.hostConfig },
    // Output comes as it was written, without frames.
    Tty: true,
  })
  try {
    const ended = handle.wait({ condition: 'next-exit' })
    await handle.start()
    const { StatusCode: code } = await ended
    const output = String(await handle.logs({ stdout: true, stderr: true }))
    return { code, output: output.replaceAll('\r\n', '\n') }
  } finally {
    await handle.remove({ force: true })
  }
}

/** Docker's compose, or the older program; undefined, and the test skipped, where there is neither. */
export function findCompose(t: TestContext): readonly [string, ...string[]] | undefined {
  const forms = [['docker', 'compose'] as const, ['docker-compose'] as const]
  const found = forms.find(([program, ...words]) => spawnSync(program, [...words, 'version']).status === 0)
  if (found) return found
  if (isRequired('containers') && isRequired('tools'))
    throw new Error('compose is required here, but not installed')
  t.skip('neither docker compose nor docker-compose is installed')
  return undefined
}
