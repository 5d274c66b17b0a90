// The official PostgreSQL image and our own, through testcontainers; without a runtime a test is skipped, but not in CI.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isRequired } from './tools.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
export const image = 'pg-health:test'
export const postgresImage = 'postgres:18-alpine'

/** The library, and the runtime that it found, with `images` at hand; undefined, and the test skipped, without. */
export async function findRuntime(t: TestContext, images: readonly string[]) {
  const containers = await import('testcontainers')
  try {
    const client = await containers.getContainerRuntimeClient()
    // The library's own container, which cleans up after a test that was killed.
    await containers.getReaper(client)
    for (const name of images) await client.image.pull(containers.ImageName.fromString(name))
    return { ...containers, client }
  } catch (error) {
    if (isRequired('containers')) throw error
    t.skip(`no container can run here: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}

/** What is registered is undone when the test is over, the last thing first: a network after who is on it. */
export function createCleanup(t: TestContext) {
  const steps: (() => Promise<unknown>)[] = []
  t.after(async () => {
    for (const step of steps.reverse()) await step()
  })
  return (step: () => Promise<unknown>) => steps.push(step)
}

export type Runtime = NonNullable<Awaited<ReturnType<typeof findRuntime>>>
export type Cleanup = ReturnType<typeof createCleanup>
/** PostgreSQL as its maintainers ship it, with a password, on a network of its own where it is called `database`. */
export async function startPostgres(later: Cleanup, { GenericContainer, Network }: Runtime) {
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

/** The URL of that PostgreSQL, as reached by `host` and `port`. */
export function urlOf(host: string, port: number) {
  return `postgres://postgres:${encodeURIComponent('s@cret/1')}@${host}:${port}/postgres`
}

/** What Containerfile begins with. */
export function baseImages(): string[] {
  const text = readFileSync(`${root}Containerfile`, 'utf8')
  return [...text.matchAll(/^ARG \w+_IMAGE=(\S+)/gm)].map(([, name = '']) => name)
}

/** The image stays: the next build takes from it what has not changed. */
export async function buildImage({ client, ImageName }: Runtime) {
  // On the host's network, as a builder without one of its own can't ask npm's registry.
  await client.image.build(root, { t: image, dockerfile: 'Containerfile', networkmode: 'host' })
  const built = await client.image.exists(ImageName.fromString(image))
  assert(built, 'the build failed; to see why: docker build --network host -f Containerfile .')
}

/** As a careful host runs it: --read-only --cap-drop ALL --security-opt no-new-privileges. */
export function lockedDown({ GenericContainer }: Runtime) {
  return class extends GenericContainer {
    constructor(name: string) {
      super(name)
      this.hostConfig.ReadonlyRootfs = true
      this.withDroppedCapabilities('ALL').withSecurityOpt('no-new-privileges')
    }
  }
}
