// Each consumer with its recipe: the real program, or its rule, takes the service out and puts it back.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { parse } from 'yaml'
import { settings } from '../../lib/config/settings.ts'
import {
  createJudge,
  faults,
  openFolder,
  openService,
  type Rule,
  recipe,
  runProgram,
  startProgram,
} from '../support/consumers.ts'
import { ask, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

const healthyBody = '{"status": "healthy","database": "connected"}'

describe('consumers', { concurrency: 4 }, () => {
  test('HAProxy takes the service out after two failures, shows why, and puts it back on one success', async t => {
    const haproxy = findTool(t, 'haproxy')
    if (haproxy === undefined) return
    const { postgres, server } = await openService(t, { DRAIN_MS: '5000' })
    const folder = openFolder(t)
    const front = { socketPath: join(folder, 'front') }
    const statsSocket = join(folder, 'stats')
    const program = startProgram(t, haproxy, ['-f', recipe('haproxy/haproxy.cfg')], {
      STATS_SOCKET: statsSocket,
      LISTEN: front.socketPath,
      SERVICE: `127.0.0.1:${await openUser(t)}`,
      PG_HEALTH: portOf(server.origin),
    })
    const state = async (backend: string) => {
      const row = (await readStats(statsSocket)).find(
        row => row['pxname'] === backend && row['svname'] === 'one',
      )
      assert.ok(row)
      return row
    }
    await until(async () => existsSync(statsSocket))
    await until(async () => {
      const states = [await state('service'), await state('plain')]
      return states.every(({ check_status }) => check_status === 'L7OK')
    })

    for (const { name, strike, mend, told } of faults) {
      assert.equal((await ask('http://service/', front)).body, 'the service')
      const failedBefore = Number((await state('service'))['chkfail'])
      const from = program.output().length
      await strike(postgres)
      const down = await program.said(/Server service\/one is DOWN.*/, from)
      const { status, last_chk = '', chkfail } = await state('service')
      assert.equal(status, 'DOWN', name)
      assert.match(down, told)
      assert.match(last_chk, told)
      assert.equal(Number(chkfail) - failedBefore, 2)
      assert.equal((await ask('http://service/', front)).status, 503, 'HAProxy answers itself')
      await program.said(/Server plain\/one is DOWN, reason: Layer7 wrong status, code: 503/, from)
      await mend(postgres)
      await program.said(/Server service\/one is UP/, from)
      await program.said(/Server plain\/one is UP/, from)
    }

    const from = program.output().length
    const stopped = server.stop('SIGTERM')
    assert.match(await program.said(/Server service\/one is DOWN.*/, from), /server is shutting down/)
    assert.equal(await stopped, 0)
  })

  test('NGINX retries on the next server after a 503, avoids the failed one, and returns to it', async t => {
    const nginx = findTool(t, 'nginx')
    if (nginx === undefined) return
    const [one, two] = [await openService(t), await openService(t)]
    const folder = openFolder(t)
    const front = { socketPath: join(folder, 'front') }
    // A link to the recipe, because NGINX looks for the other two files beside it.
    symlinkSync(recipe('nginx/nginx.conf'), join(folder, 'nginx.conf'))
    const [addressOne = '', addressTwo = ''] = [one, two].map(({ server }) => new URL(server.origin).host)
    const servers = readFileSync(recipe('nginx/servers.conf'), 'utf8')
      .replace('10.0.0.11:8000', addressOne)
      .replace('10.0.0.12:8000', addressTwo)
    writeFileSync(join(folder, 'servers.conf'), servers)
    writeFileSync(join(folder, 'listen.conf'), `listen unix:${front.socketPath};\n${temporaryPaths(folder)}`)
    const globals = `daemon off; pid ${join(folder, 'pid')};`
    startProgram(t, nginx, ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr', '-g', globals])
    await until(async () => existsSync(front.socketPath))

    /** NGINX's answer, and the servers that it asked for it, which its log names a moment later. */
    let logged = 0
    const askThrough = async () => {
      const { status, body } = await ask('http://nginx/health', front)
      let line: string | undefined
      await until(async () => {
        line = readFileSync(join(folder, 'access.log'), 'utf8').split('\n').slice(0, -1)[logged]
        return line !== undefined
      })
      logged += 1
      const [, upstreams = '', statuses = ''] = /: (.+) said (.+) in .+ s$/.exec(line ?? '') ?? []
      const asked = upstreams.replaceAll(addressOne, 'one').replaceAll(addressTwo, 'two')
      return { status, body, asked: `${asked}: ${statuses}` }
    }
    const several = async () => [
      await askThrough(),
      await askThrough(),
      await askThrough(),
      await askThrough(),
    ]
    const askedOf = (answers: { asked: string }[]) =>
      [...new Set(answers.map(({ asked }) => asked))].toSorted()

    for (const { name, strike, mend } of faults) {
      assert.deepEqual(askedOf(await several()), ['one: 200', 'two: 200'], name)
      await strike(one.postgres)
      const during = await several()
      assert.deepEqual(askedOf(during), ['one, two: 503, 200', 'two: 200'])
      assert.equal(
        during.filter(({ asked }) => asked.startsWith('one')).length,
        1,
        'it is left alone after that',
      )
      assert.deepEqual([...new Set(during.map(({ body }) => body))], [healthyBody], 'no client has noticed')
      await mend(one.postgres)
      await until(async () => (await askThrough()).asked === 'one: 200')
    }

    await one.postgres.stop()
    await two.postgres.stop()
    const first = await askThrough()
    assert.deepEqual(
      [first.status, first.body],
      [503, '{"status": "unhealthy","error": "database unreachable"}'],
    )
    assert.equal((await askThrough()).status, 502, 'NGINX has no server left')
    await two.postgres.start()
    await until(async () => (await askThrough()).asked.endsWith('two: 200'))
  })

  test('blackbox_exporter: probe_success is 0 while the database is down or frozen, then 1', async t => {
    const blackbox = findTool(t, 'prometheus-blackbox-exporter')
    if (blackbox === undefined) return
    const { postgres, server } = await openService(t)
    const args = [`--config.file=${recipe('prometheus/blackbox.yml')}`, '--web.listen-address=127.0.0.1:0']
    const exporter = startProgram(t, blackbox, args)
    const address = (await exporter.said(/Listening on" address=\S+/)).replace(/.*=/, '')
    const probe = async (origin: string) => {
      const target = `target=${encodeURIComponent(`${origin}/health`)}`
      const { body } = await ask(`http://${address}/probe?module=pg_health&${target}`)
      const value = (name: string) => new RegExp(`^${name} (.*)$`, 'm').exec(body)?.[1]
      return [value('probe_success'), value('probe_http_status_code'), value('probe_failed_due_to_regex')]
    }
    // For probers that read the body: the status is 200 either way.
    const quiet = await startServer({ DATABASE_URL: postgres.url, HEALTH_UNHEALTHY_STATUS: '200' })
    t.after(() => quiet.stop('SIGKILL'))
    await quiet.event('healthy')
    for (const { name, strike, mend } of faults) {
      assert.deepEqual(await probe(server.origin), ['1', '200', '0'], name)
      await strike(postgres)
      assert.deepEqual((await probe(server.origin)).slice(0, 2), ['0', '503'])
      assert.deepEqual(await probe(quiet.origin), ['0', '200', '1'])
      await mend(postgres)
      assert.deepEqual(await probe(quiet.origin), ['1', '200', '0'])
    }
    assert.deepEqual(await probe(server.origin), ['1', '200', '0'])
  })

  test("the runbook's curl line prints the answer, and fails while the database is down or frozen", async t => {
    const curl = findTool(t, 'curl')
    if (curl === undefined) return
    const { postgres, server } = await openService(t)
    const [line = ''] =
      /^curl --fail-with-body .*$/m.exec(readFileSync(recipe('../docs/runbook.md'), 'utf8')) ?? []
    const run = () => runProgram('sh', ['-c', line], { URL: `${server.origin}/health` })
    for (const { name, strike, mend, told } of faults) {
      assert.deepEqual(await run(), { code: 0, output: healthyBody }, name)
      await strike(postgres)
      const { code, output } = await run()
      assert.equal(code, 22)
      assert.match(output, told)
      await mend(postgres)
    }
    assert.deepEqual(await run(), { code: 0, output: healthyBody })
  })

  test('check.py exits 1 with the reason while the database is down or frozen, then 0', async t => {
    const python = findTool(t, 'python3')
    if (python === undefined) return
    const { postgres, server } = await openService(t)
    const check = recipe('python/check.py')
    // A proxy named in the environment must not be used.
    const run = (url = `${server.origin}/health`) =>
      runProgram(python, [check, url], { LC_ALL: 'C', http_proxy: 'http://127.0.0.1:1' })
    for (const { name, strike, mend, told } of faults) {
      assert.deepEqual(await run(), { code: 0, output: '✓ API is healthy\n' }, name)
      await strike(postgres)
      const { code, output } = await run()
      assert.equal(code, 1)
      assert.match(output, /^✗ API unhealthy: /)
      assert.match(output, told)
      await mend(postgres)
    }
    assert.deepEqual(await run(), { code: 0, output: '✓ API is healthy\n' })
    const elsewhere = await run(`${server.origin}/`)
    assert.equal(elsewhere.code, 1)
    await server.stop('SIGKILL')
    const gone = await run()
    assert.equal(gone.code, 1)
    assert.match(gone.output, /^✗ Health check failed: .*refused/)
  })

  test("kubelet, with the manifest's numbers: out after failures, in on success; liveness ignores SQL", async t => {
    const probes = kubernetesProbes()
    const [ready, alive] = [kubeletRule(probes.readinessProbe), kubeletRule(probes.livenessProbe)]
    assertFits(ready)
    const { postgres, server } = await openService(t, hasty)
    const readiness = createJudge(ready, server.origin, 'out')
    const liveness = createJudge(alive, server.origin, 'in')
    assert.deepEqual(await readiness.states(ready.rise), fallen('out', ready.rise))
    for (const { name, strike, mend, told } of faults) {
      await strike(postgres)
      assert.deepEqual(await readiness.states(ready.fall - 1), Array(ready.fall - 1).fill('in'), name)
      const { answer, state } = await readiness.judge()
      assert.equal(state, 'out')
      assert.match(answer?.body ?? 'no answer in time', told)
      assert.deepEqual(await liveness.states(alive.fall), Array(alive.fall).fill('in'))
      await mend(postgres)
      assert.deepEqual(await readiness.states(ready.rise), fallen('out', ready.rise))
    }
    server.child.kill('SIGSTOP')
    assert.deepEqual(
      await liveness.states(alive.fall),
      fallen('in', alive.fall),
      'a process that hangs is restarted',
    )
  })

  test("ALB, with the target group's numbers: out after failures, in after successes, in a row", async t => {
    const rule = targetGroupRule()
    assertFits(rule)
    const { postgres, server } = await openService(t, hasty)
    const target = createJudge(rule, server.origin, 'in')
    for (const { name, strike, mend, told } of faults) {
      await strike(postgres)
      assert.deepEqual(await target.states(rule.fall - 1), Array(rule.fall - 1).fill('in'), name)
      const { answer, state } = await target.judge()
      assert.equal(state, 'out')
      assert.match(answer?.body ?? 'no answer in time', told)
      await mend(postgres)
      assert.deepEqual(await target.states(rule.rise), fallen('out', rule.rise))
    }
  })
})

/** Leaves a busy machine more time until the prober's own timeout. `assertFits` checks the real numbers. */
const hasty = { HEALTH_TIMEOUT_MS: '1000' }

/** A prober that gives up before HEALTH_TIMEOUT_MS would never read the reason. */
function assertFits({ timeoutMs }: Rule) {
  const deadlineMs = Number(settings.find(({ name }) => name === 'HEALTH_TIMEOUT_MS')?.defaultText)
  assert.ok(timeoutMs >= deadlineMs + 500, `${timeoutMs} ms`)
}

interface KubernetesProbe {
  readonly httpGet: { readonly path: string }
  readonly timeoutSeconds: number
  readonly failureThreshold?: number
  readonly successThreshold?: number
}

/** Kubernetes' defaults are three failures and one success. The kubelet accepts 200 to 399. */
function kubeletRule({ httpGet, timeoutSeconds, failureThreshold, successThreshold }: KubernetesProbe): Rule {
  return {
    path: httpGet.path,
    headers: { 'user-agent': 'kube-probe/1.34', accept: '*/*' },
    accepts: ({ status }) => status >= 200 && status < 400,
    timeoutMs: timeoutSeconds * 1_000,
    fall: failureThreshold ?? 3,
    rise: successThreshold ?? 1,
  }
}

function kubernetesProbes(): Record<'readinessProbe' | 'livenessProbe', KubernetesProbe> {
  const manifest = recipe('kubernetes/deployment.yaml')
  return parse(readFileSync(manifest, 'utf8')).spec.template.spec.containers[0]
}

/** The states after each of so many answers against `state`, the last of which changes it. */
function fallen(state: 'in' | 'out', answers: number): string[] {
  return [...Array(answers - 1).fill(state), state === 'in' ? 'out' : 'in']
}

/** The matcher is a list of statuses and ranges: `200`, `200,202`, `200-299`. */
function targetGroupRule(): Rule {
  const group = JSON.parse(readFileSync(recipe('aws/target-group.json'), 'utf8'))
  const ranges = String(group.Matcher.HttpCode)
    .split(',')
    .map(range => range.split('-').map(Number))
  return {
    path: group.HealthCheckPath,
    headers: { 'user-agent': 'ELB-HealthChecker/2.0', 'accept-encoding': 'gzip, compressed' },
    accepts: ({ status }) => ranges.some(([least = 0, most = least]) => status >= least && status <= most),
    timeoutMs: group.HealthCheckTimeoutSeconds * 1_000,
    fall: group.UnhealthyThresholdCount,
    rise: group.HealthyThresholdCount,
  }
}

function portOf(origin: string): string {
  return new URL(origin).port
}

/** Starts a service that has pg-health beside it. Gives its port. */
async function openUser(t: TestContext): Promise<number> {
  const service = createServer((_request, response) => response.end('the service'))
  t.after(() => service.close())
  await once(service.listen(0, '127.0.0.1'), 'listening')
  return (service.address() as AddressInfo).port
}

/** HAProxy's `show stat`: a table, with the names of its columns in the first line. */
async function readStats(path: string): Promise<Record<string, string>[]> {
  const socket = net.connect(path)
  socket.end('show stat\n')
  let text = ''
  for await (const chunk of socket) text += chunk
  const [names = [], ...rows] = text.replace(/^# /, '').trim().split('\n').map(readRow)
  return rows.map(row => Object.fromEntries(names.map((name, index) => [name, row[index] ?? ''])))
}

function readRow(line: string): string[] {
  const cells = line.matchAll(/(?:"((?:[^"]|"")*)"|([^,]*))(?:,|$)/g)
  return [...cells].map(([, quoted, plain = '']) => quoted?.replaceAll('""', '"') ?? plain)
}

/** Resolves when `condition` is true. There is no event for that, so it polls. */
async function until(condition: () => Promise<boolean>) {
  const patience = AbortSignal.timeout(60_000)
  while (!(await condition())) await pause(100, undefined, { signal: patience })
}

/** Temporary paths for an NGINX that an ordinary user runs. */
function temporaryPaths(folder: string): string {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return kinds.map(kind => `${kind}_temp_path ${join(folder, kind)};\n`).join('')
}
