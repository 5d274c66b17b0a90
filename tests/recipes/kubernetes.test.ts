// deploy/kubernetes against Kubernetes' own schema, and its numbers against the program's defaults.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Deployment } from 'kubernetes-types/apps/v1.js'
import type { Container, Pod, PodSpec, Probe } from 'kubernetes-types/core/v1.js'
import { parse } from 'yaml'
import { readConfig } from '../../lib/config/config.ts'
import { settings } from '../../lib/config/settings.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = join(root, 'deploy/kubernetes')
const names = readdirSync(folder)
const config = readConfig({ PGHOST: 'x' }, () => ({ text: '', mode: 0o600, ownerId: 0 }), 'x')
/** The watchdog ends a shutdown this long after DRAIN_MS (milliseconds). */
const overdueMs = Number(
  /overdueMs = ([\d_]+)/
    .exec(readFileSync(join(root, 'lib/system/shutdown.ts'), 'utf8'))?.[1]
    ?.replace('_', ''),
)

/** The module of each kind in the schema's types. */
const kinds: Record<string, string> = {
  'apps/v1 Deployment': 'apps/v1',
  'v1 Service': 'core/v1',
  'v1 Pod': 'core/v1',
  'policy/v1 PodDisruptionBudget': 'policy/v1',
}

function read<T = { apiVersion: string; kind: string }>(name: string): T {
  return parse(readFileSync(join(folder, name), 'utf8'))
}

/**
 * Checks objects against Kubernetes' schema with the compiler: the types are generated from the OpenAPI document, and an
 * object literal may have no unknown property. Gives the compiler's output, empty when all is well.
 */
async function faultsOf(objects: Readonly<Record<string, { apiVersion: string; kind: string }>>) {
  const scratch = mkdtempSync(join(tmpdir(), 'pg-health-'))
  try {
    symlinkSync(join(root, 'node_modules'), join(scratch, 'node_modules'))
    const files = Object.entries(objects).map(([name, object]) => {
      const kind = kinds[`${object.apiVersion} ${object.kind}`] ?? assert.fail(`${name}: unknown kind`)
      const type = `import('kubernetes-types/${kind}.js').${object.kind}`
      writeFileSync(
        join(scratch, `${name}.mts`),
        `export const object: ${type} = ${JSON.stringify(object)}\n`,
      )
      return `${name}.mts`
    })
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--types', '', ...files]
    await promisify(execFile)(process.execPath, [tsc, ...options], { cwd: scratch })
    return ''
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? error)
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

const objects = Object.fromEntries(
  names.filter(name => name !== 'kustomization.yaml').map(name => [name, read(name)]),
)

test("every object of deploy/kubernetes fits Kubernetes' schema", async () => {
  assert.equal(await faultsOf(objects), '')
})

test("the images are those of this package's version", () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const { images } = read<{ images: object[] }>('kustomization.yaml')
  assert.deepEqual(images, [{ name: 'pg-health', newName: 'registry.example/pg-health', newTag: version }])
  const [sidecar] = read<Pod>('sidecar.yaml').spec?.initContainers ?? []
  assert.equal(sidecar?.image, `registry.example/pg-health:${version}`)
})

test('kustomization.yaml lists every object but the sidecar example, and one label selects them', () => {
  const { apiVersion, kind, resources } = read<{
    apiVersion: string
    kind: string
    resources: string[]
  }>('kustomization.yaml')
  assert.deepEqual([apiVersion, kind], ['kustomize.config.k8s.io/v1beta1', 'Kustomization'])
  assert.deepEqual([...resources, 'kustomization.yaml', 'sidecar.yaml'].toSorted(), names.toSorted())
  const pairs = { 'app.kubernetes.io/name': 'pg-health' }
  const text = resources.map(name => JSON.stringify(read(name)))
  // On each object and in its selector; for the Deployment also on its pods and in their spread constraint.
  assert.deepEqual(text.map(json => json.split(JSON.stringify(pairs)).length - 1).toSorted(), [2, 2, 4])
})

const pods: [string, PodSpec][] = [
  ['deployment.yaml', read<Deployment>('deployment.yaml').spec?.template.spec ?? assert.fail()],
  ['sidecar.yaml', read<Pod>('sidecar.yaml').spec ?? assert.fail()],
]

for (const [name, pod] of pods) {
  const [container] = [...(pod.initContainers ?? []), ...pod.containers] as [Container]
  const env = Object.fromEntries((container.env ?? []).map(({ name, value = '' }) => [name, value]))

  test(`${name}: its probes fit the program's deadlines; no outage below a day restarts it`, () => {
    const { startupProbe, readinessProbe, livenessProbe } = container
    const paths = [startupProbe, readinessProbe, livenessProbe].map(probe => probe?.httpGet?.path)
    assert.deepEqual(paths, ['/readyz', '/readyz', '/livez'])
    for (const probe of [startupProbe, readinessProbe, livenessProbe]) {
      const { timeoutSeconds = 0, httpGet } = probe ?? {}
      assert.ok(
        timeoutSeconds * 1000 >= config.timeoutMs + 500,
        'the answer comes before the prober gives up',
      )
      assert.ok(container.ports?.some(({ name }) => name === httpGet?.port))
    }
    assert.ok(toleranceSecondsOf(startupProbe) >= 24 * 60 * 60)
    assert.equal(container.ports?.[0]?.containerPort, config.port)
  })

  test(`${name}: the grace period is longer than a stop can take`, () => {
    const drainMs = env['DRAIN_MS'] === undefined ? config.drainMs : Number(env['DRAIN_MS'])
    assert.ok(Number(pod.terminationGracePeriodSeconds) * 1000 >= drainMs + overdueMs + 1000)
  })

  test(`${name}: no root, writes, token or service links; default seccomp; the URL is in a file`, () => {
    assert.deepEqual(
      [pod.automountServiceAccountToken, pod.enableServiceLinks, pod.securityContext?.runAsNonRoot],
      [false, false, true],
    )
    assert.deepEqual(pod.securityContext?.seccompProfile, { type: 'RuntimeDefault' })
    assert.deepEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    for (const variable of Object.keys(env))
      assert.ok(
        settings.some(({ name }) => name === variable),
        variable,
      )
    const [mount] = container.volumeMounts ?? []
    assert.equal(env['DATABASE_URL_FILE'], `${mount?.mountPath}/database-url`)
    const volume = pod.volumes?.find(({ name }) => name === mount?.name)
    assert.equal(volume?.secret?.defaultMode, 0o440)
    assert.equal(pod.securityContext?.fsGroup, pod.securityContext?.runAsUser)
    assert.match(
      readFileSync(join(root, 'Containerfile'), 'utf8'),
      RegExp(`^USER ${pod.securityContext?.runAsUser}$`, 'm'),
    )
  })
}

/** How long a container may fail this probe before the kubelet acts (seconds). */
function toleranceSecondsOf({ periodSeconds = 10, failureThreshold = 3 }: Probe = {}): number {
  return periodSeconds * failureThreshold
}
