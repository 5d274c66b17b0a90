// The running program as Prometheus sees it: /metrics, the alerts and the dashboard.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { METHODS } from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { startChild } from '../support/child.ts'
import { createTable, samplesOf } from '../support/metrics.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy } from '../support/proxy.ts'
import { ask, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

let postgres: Postgres
before(async () => {
  postgres = await openPostgres()
})
after(() => postgres.close())

async function start(t: TestContext, settings: Record<string, string> = {}) {
  const server = await startServer({ DATABASE_URL: postgres.url, ...settings })
  t.after(() => server.stop('SIGKILL'))
  return server
}

async function startBehindProxy(t: TestContext, settings: Record<string, string> = {}) {
  const proxy = await openProxy(postgres.port)
  t.after(() => proxy.close())
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`
  return { proxy, url, start: () => start(t, { DATABASE_URL: url, ...settings }) }
}

async function scrape(origin: string) {
  return samplesOf((await ask(`${origin}/metrics`)).body)
}

const up = 'pghealth_up'
const counted = (result: string) => `pghealth_checks_total{result="${result}"}`
const answered = (path: string, code: number) => `pghealth_http_requests_total{path="${path}",code="${code}"}`

test('a scrape during the first check is answered immediately, and has no pghealth_up yet', async t => {
  const { proxy, start } = await startBehindProxy(t, {
    HEALTH_TIMEOUT_MS: '60000',
    HEALTH_CONNECT_TIMEOUT_MS: '60000',
  })
  proxy.stall()
  const server = await start()
  const waiting = Array.from({ length: 3 }, () => ask(`${server.origin}/health`))
  // On a new connection, and answered although earlier requests still wait.
  let shown = await scrape(server.origin)
  while (shown.get('pghealth_http_requests_in_flight') !== 4) shown = await scrape(server.origin)
  assert.equal(shown.has(up), false)
  assert.equal(shown.has('pghealth_last_check_timestamp_seconds'), false)
  assert.equal(shown.get(answered('/health', 200)), 0)
  proxy.flow()
  await Promise.all(waiting)
  const healed = await scrape(server.origin)
  assert.equal(healed.get(up), 1)
  assert.equal(healed.get(answered('/health', 200)), 3)
  assert.equal(healed.get('pghealth_http_requests_in_flight'), 1)
})

test('an outage is counted by reason, and so is its end', async t => {
  const { proxy, start } = await startBehindProxy(t, { HEALTH_TIMEOUT_MS: '600' })
  const server = await start()
  await server.event('healthy')
  const health = async () => (await ask(`${server.origin}/health`)).status
  assert.equal(await health(), 200)
  const before = await scrape(server.origin)
  assert.equal(before.get(up), 1)
  assert.equal(before.get('pghealth_connections_opened_total'), 1)

  proxy.stall()
  assert.equal(await health(), 503)
  assert.equal(await health(), 503)
  const down = await scrape(server.origin)
  assert.equal(down.get(up), 0)
  assert.equal(down.get(counted('connect_timeout')), 2)
  assert.equal(down.get('pghealth_consecutive_failures'), 2)
  assert.equal(down.get('pghealth_state_changes_total'), 1)
  assert.equal(down.get(answered('/health', 503)), 2)

  proxy.flow()
  assert.equal(await health(), 200)
  const healed = await scrape(server.origin)
  assert.equal(healed.get(up), 1)
  assert.equal(healed.get(counted('healthy')), 3)
  assert.equal(healed.get('pghealth_consecutive_failures'), 0)
  assert.equal(healed.get('pghealth_state_changes_total'), 2)
  assert.equal(healed.get('pghealth_connections_opened_total'), 2)
  const name = 'pghealth_last_healthy_timestamp_seconds'
  assert.ok((healed.get(name) ?? 0) > (down.get(name) ?? 0))
  assert.ok(Math.abs((healed.get(name) ?? 0) - Date.now() / 1_000) < 60)
})

test('requests that time out during a check count as verdicts; only checks are measured', async t => {
  const { proxy, start } = await startBehindProxy(t, { HEALTH_TIMEOUT_MS: '600' })
  const server = await start()
  await server.event('healthy')
  proxy.stall()
  const answers: Promise<unknown>[] = []
  for (let client = 0; client < 6; client += 1) {
    answers.push(ask(`${server.origin}/health`))
    // At different times, so that each has its own deadline.
    await new Promise(resolve => setTimeout(resolve, 60))
  }
  await Promise.all(answers)
  const shown = await scrape(server.origin)
  const verdicts = [...shown].filter(([key]) => key.startsWith('pghealth_checks_total'))
  const total = verdicts.reduce((sum, [, count]) => sum + count, 0)
  const measured = shown.get('pghealth_check_duration_seconds_count') ?? 0
  assert.ok(measured < total, `${measured} of ${total}`)
  assert.equal(shown.get('pghealth_http_request_duration_seconds_count{path="/health"}'), 6)
})

test('unknown paths and methods do not make the page longer', async t => {
  const server = await start(t)
  await server.event('healthy')
  // Only the second scrape shows the lag of the event loop.
  await scrape(server.origin)
  const before = await scrape(server.origin)
  const paths = ['constructor', '__proto__', 'health"} 1\\n', 'metrics/x', '%00', '?a=b', 'x{le="1"}']
  const targets = [...paths, ...Array.from({ length: 200 }, (_, index) => `${index}`)]
  for (const target of targets) await ask(`${server.origin}/`, { path: `/${target.replaceAll(' ', '%20')}` })
  // Node handles CONNECT separately.
  for (const method of METHODS.filter(name => name !== 'CONNECT')) {
    for (const path of ['/health', '/metrics', '/x']) await ask(server.origin, { path, method })
  }
  await sendRaw(new URL(server.origin), 'HACK /health HTTP/1.1\r\nhost: x\r\n\r\n')
  const now = await scrape(server.origin)
  assert.deepEqual([...now.keys()], [...before.keys()])
  const others = (now.get(answered('other', 404)) ?? 0) - (before.get(answered('other', 404)) ?? 0)
  assert.ok(others >= targets.length, `${others}`)
  assert.ok((now.get(answered('/metrics', 405)) ?? 0) > 10)
})

/** Sends bytes that no client library would send. Resolves when the server has closed the connection. */
async function sendRaw({ port, hostname }: URL, text: string) {
  const socket = net.connect(Number(port), hostname, () => socket.end(text))
  socket.resume()
  await once(socket, 'close')
}

test('promtool accepts the page without a complaint', async t => {
  const promtool = findTool(t, 'promtool')
  if (promtool === undefined) return
  const server = await start(t)
  await server.event('healthy')
  await scrape(server.origin)
  const { body } = await ask(`${server.origin}/metrics`)
  const { status, stdout, stderr } = spawnSync(promtool, ['check', 'metrics'], {
    input: body,
    encoding: 'utf8',
  })
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' })
})

const deploy = fileURLToPath(new URL('../../deploy/', import.meta.url))

/** Every metric name that a text mentions, with the suffixes of histograms. */
function namesIn(text: string): string[] {
  return [...new Set(text.match(/\b(?:pghealth|process|nodejs)_\w+/g))]
}

test('alerts, their tests and the dashboard name only metrics that exist', () => {
  const shown = [...samplesOf(createTable().render().body).keys()].map(key => key.replace(/\{.*/, ''))
  const known = new Set([...shown, ...createTable().series.map(({ name }) => name)])
  for (const file of ['prometheus/rules.yml', 'prometheus/rules.test.yml', 'grafana/dashboard.json']) {
    const names = namesIn(readFileSync(`${deploy}${file}`, 'utf8'))
    assert.ok(names.length >= 4, `${file}: ${names}`)
    assert.deepEqual(
      names.filter(name => !known.has(name)),
      [],
      file,
    )
  }
})

test('the dashboard asks only for label values that exist', () => {
  const keys = [...samplesOf(createTable().render().body).keys()]
  const asked = expressionsOf('grafana/dashboard.json').flatMap(([, expression]) => [
    ...expression.matchAll(/\b(path|result|code|le)(?:=~|!=|=)"([^"]+)"/g),
  ])
  assert.deepEqual([...new Set(asked.map(([, label]) => label))].toSorted(), ['le', 'path', 'result'])
  for (const [, label, values = ''] of asked) {
    for (const value of values.split('|')) {
      assert.ok(
        keys.some(key => key.includes(`${label}="${value}"`)),
        `${label}="${value}"`,
      )
    }
  }
})

test('promtool: each alert fires when it should, and only then', t => {
  const promtool = findTool(t, 'promtool')
  if (promtool === undefined) return
  const folder = `${deploy}prometheus/`
  const { status, stdout, stderr } = spawnSync(promtool, ['test', 'rules', `${folder}rules.test.yml`], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stdout + stderr)
  const alerts = [...readFileSync(`${folder}rules.yml`, 'utf8').matchAll(/- alert: (\w+)/g)].map(
    ([, name]) => name,
  )
  assert.equal(alerts.length, 5)
  const tests = parse(readFileSync(`${folder}rules.test.yml`, 'utf8')).tests
  const cases: { alertname: string; exp_alerts: unknown[] }[] = tests.flatMap(
    (each: { alert_rule_test: unknown[] }) => each.alert_rule_test,
  )
  for (const alert of alerts) {
    const expected = cases
      .filter(({ alertname }) => alertname === alert)
      .map(({ exp_alerts }) => exp_alerts.length)
    assert.ok(expected.includes(0) && expected.some(count => count > 0), alert)
  }
})

test("the dashboard's Now is sustained when the alert fires, and not before", t => {
  const promtool = findTool(t, 'promtool')
  if (promtool === undefined) return
  const now = expressionsOf('grafana/dashboard.json').find(([title]) => title === 'Now')?.[1]
  const file = join(mkdtempSync(join(tmpdir(), 'pg-health-promtool-')), 'test.yml')
  t.after(() => rmSync(dirname(file), { recursive: true }))
  const series = (name: string, values: string) => ({ series: `${name}{instance="one"}`, values })
  /** What it shows at each time: 0 healthy, 1 intermittent, 2 unhealthy, 3 sustained. One scrape each 15 s. */
  const cases: [up: string, changes: string, shown: Readonly<Record<string, number>>][] = [
    ['1x80', '0x80', { '10m': 0 }],
    ['1x3 0x76', '0x3 1x76', { '45s': 0, '1m': 2, '2m45s': 2, '3m': 3, '15m': 3 }],
    ['0x80', '0x80', { '15s': 2, '1m45s': 2, '2m': 3 }],
    ['1x3 0x3 1x3 0x76', '0x3 1x3 2x3 3x76', { '1m': 2, '2m': 0, '4m45s': 1, '5m': 3 }],
  ]
  const tests = cases.map(([up, changes, shown]) => ({
    interval: '15s',
    input_series: [series('pghealth_up', up), series('pghealth_state_changes_total', changes)],
    promql_expr_test: Object.entries(shown).map(([at, value]) => ({
      expr: now,
      eval_time: at,
      exp_samples: [{ labels: '{instance="one"}', value }],
    })),
  }))
  writeFileSync(file, JSON.stringify({ evaluation_interval: '15s', tests }))
  const { status, stdout, stderr } = spawnSync(promtool, ['test', 'rules', file], { encoding: 'utf8' })
  assert.equal(status, 0, stdout + stderr)
})

/** Starts Prometheus with our files; only its target and its intervals differ. It ends with the test. */
async function openPrometheus(t: TestContext, program: string, origin: string) {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-prometheus-'))
  const config = readFileSync(`${deploy}prometheus/prometheus.yml`, 'utf8')
  const adapted = config.replaceAll('15s', '1s').replace('127.0.0.1:8000', new URL(origin).host)
  assert.equal(adapted.includes(new URL(origin).host), true)
  writeFileSync(join(folder, 'prometheus.yml'), adapted)
  writeFileSync(join(folder, 'rules.yml'), readFileSync(`${deploy}prometheus/rules.yml`))
  const child = startChild(program, [
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    '--web.listen-address=127.0.0.1:0',
  ])
  t.after(async () => {
    child.process.kill('SIGKILL')
    await child.ended
    rmSync(folder, { recursive: true })
  })
  const port = await child.said(/Listening on.* address=\S*:(\d+)/)
  await child.said(/Server is ready to receive web requests/)

  async function get(path: string) {
    const { status, body } = await ask(`http://127.0.0.1:${port}/api/v1/${path}`)
    assert.equal(status, 200, `${path}: ${body}`)
    return JSON.parse(body).data
  }

  /** The current values of an expression. */
  async function query(expression: string): Promise<number[]> {
    const { result } = await get(`query?query=${encodeURIComponent(expression)}`)
    return result.map(({ value }: { value: [number, string] }) => Number(value[1]))
  }

  /** Resolves when the expression has this single value, after the scrape that shows it. */
  async function see(expression: string, value: number) {
    for (let time = 0; time < 300; time += 1) {
      const values = await query(expression)
      if (values.length === 1 && values[0] === value) return
      await pause(200)
    }
    assert.fail(`${expression} is ${await query(expression)}, expected ${value}`)
  }
  return { get, query, see }
}

/** The dashboard's expressions, with the titles of their panels, and with variables replaced. */
function expressionsOf(file: string): [title: string, expression: string][] {
  const { panels } = JSON.parse(readFileSync(`${deploy}${file}`, 'utf8'))
  return panels.flatMap(({ title, targets = [] }: { title: string; targets?: { expr: string }[] }) =>
    targets.map(({ expr }) => [
      title,
      expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '10s').replaceAll('$__range', '1m'),
    ]),
  )
}

test('a real Prometheus scrapes the program, and every panel of the dashboard shows data', async t => {
  const program = findTool(t, 'prometheus')
  if (program === undefined) return
  const { proxy, start } = await startBehindProxy(t, { HEALTH_TIMEOUT_MS: '600' })
  const server = await start()
  await server.event('healthy')
  const { get, query, see } = await openPrometheus(t, program, server.origin)
  const expressions = expressionsOf('grafana/dashboard.json')
  const nature = expressions.find(([title]) => title === 'Now')?.[1] ?? ''
  const health = async () => (await ask(`${server.origin}/health`)).status

  await see(up, 1)
  await see(nature, 0)
  proxy.stall()
  assert.equal(await health(), 503)
  await see(up, 0)
  // 2 is unhealthy, not yet sustained; 1 is intermittent.
  await see(nature, 2)
  proxy.flow()
  assert.equal(await health(), 200)
  proxy.stall()
  assert.equal(await health(), 503)
  await see(nature, 1)
  proxy.flow()

  const silent = new Map(expressions.map(([title, expression]) => [expression, title]))
  for (let time = 0; time < 300 && silent.size > 0; time += 1) {
    assert.equal(await health(), 200)
    for (const expression of silent.keys()) {
      if ((await query(expression)).some(Number.isFinite)) silent.delete(expression)
    }
    await pause(200)
  }
  assert.deepEqual([...silent.values()], [])

  const { activeTargets } = await get('targets')
  assert.deepEqual(
    activeTargets.map(({ health, lastError }: { health: string; lastError: string }) => [health, lastError]),
    [['up', '']],
  )
  const { groups } = await get('rules')
  const rules: { health: string; name: string }[] = groups.flatMap(({ rules }: { rules: unknown }) => rules)
  assert.deepEqual(
    rules.filter(({ health }) => health !== 'ok'),
    [],
  )
  assert.equal(rules.length, 5)
  assert.equal(await server.stop(), 0)
  await see('up', 0)
})

test('the dashboard has four rows, and lets you choose its data source and instances', () => {
  const { panels, templating } = JSON.parse(readFileSync(`${deploy}grafana/dashboard.json`, 'utf8'))
  assert.deepEqual(
    templating.list.map(({ name, type }: { name: string; type: string }) => [name, type]),
    [
      ['datasource', 'datasource'],
      ['instance', 'query'],
    ],
  )
  const types: string[] = panels.map(({ type }: { type: string }) => type)
  assert.equal(types.filter(type => type === 'row').length, 4)
  assert.ok(
    types.every((type, index) => type !== 'row' || types[index + 1] !== 'row') && types.at(-1) !== 'row',
  )
  for (const { type, datasource, targets, title } of panels) {
    if (type === 'row') continue
    assert.deepEqual(datasource, { type: 'prometheus', uid: '${' + 'datasource}' }, title)
    for (const { expr, datasource: own } of targets) {
      assert.deepEqual(own, datasource, title)
      // Every selector has the chosen instances.
      const selectors = expr.match(/pghealth_\w+(\{[^}]*\})?/g)
      for (const selector of selectors)
        assert.ok(selector.includes('instance=~"$instance"'), `${title}: ${selector}`)
    }
  }
})
