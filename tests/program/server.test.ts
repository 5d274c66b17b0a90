// The running program with a real PostgreSQL: the four promises, its log, its commands, and what a client reads.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { after, before, describe, type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { settings as settingsTable } from '../../lib/config/settings.ts'
import { sentences } from '../../lib/health/verdict.ts'
import { runChild, startChild } from '../support/child.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy, type Statement } from '../support/proxy.ts'
import {
  type Answer,
  ask,
  environmentOf,
  program,
  type Running,
  root,
  runServer,
  startServer,
} from '../support/server.ts'
import { findTool } from '../support/tools.ts'

const healthy = '{"status": "healthy","database": "connected"}'
const unhealthy = (sentence: string) => `{"status": "unhealthy","error": "${sentence}"}`

let postgres: Postgres
before(async () => {
  postgres = await openPostgres()
})
after(() => postgres.close())

/** Starts the program behind a recording proxy. Both end with the test. */
async function startBehindProxy(t: TestContext, settings: Record<string, string> = {}) {
  const proxy = await openProxy(postgres.port)
  const server = await start(t, {
    DATABASE_URL: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`,
    ...settings,
  })
  t.after(() => proxy.close())
  return { proxy, server }
}

async function start(t: TestContext, settings: Record<string, string>): Promise<Running> {
  const server = await startServer(settings)
  t.after(() => server.stop('SIGKILL'))
  return server
}

/** So many clients send `rounds` requests each, one after the other, on a connection that each keeps. */
async function crowd(origin: string, clients: number, rounds: number): Promise<Answer[]> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients })
  const answers: Answer[] = []
  const client = async () => {
    for (let round = 0; round < rounds; round += 1) answers.push(await ask(`${origin}/health`, { agent }))
  }
  await Promise.all(Array.from({ length: clients }, client))
  agent.destroy()
  return answers
}

/** True when some query began after the request was sent, and was answered before the client read its answer. */
function isFresh({ sentAt, answeredAt }: Answer, statements: readonly Statement[]): boolean {
  return statements.some(
    ({ beganAt, endedAt = Number.POSITIVE_INFINITY, answered }) =>
      answered && beganAt >= sentAt && endedAt <= answeredAt,
  )
}

function overlaps(statements: readonly Statement[]): Statement[] {
  return statements.filter((statement, index) => {
    const previous = statements[index - 1]
    return previous !== undefined && (previous.endedAt ?? Number.POSITIVE_INFINITY) > statement.beganAt
  })
}

describe('fresh, and one at a time', () => {
  for (const clients of [50, 200]) {
    test(`${clients} clients: a query sent after the request backs each 200, and queries never overlap`, async t => {
      const { proxy, server } = await startBehindProxy(t)
      await server.event('healthy')
      // Long enough for many requests to arrive during a query.
      proxy.delay(4)
      const answers = await crowd(server.origin, clients, 10)
      assert.equal(answers.length, clients * 10)
      for (const answer of answers) {
        assert.equal(answer.body, healthy)
        assert.ok(isFresh(answer, proxy.statements), JSON.stringify(answer))
      }
      assert.deepEqual(overlaps(proxy.statements), [])
      assert.equal(proxy.mostConnections, 1)
      assert.ok(
        proxy.statements.length < answers.length / 4,
        `${proxy.statements.length} queries for ${answers.length} answers`,
      )
    })
  }
})

describe('in time', () => {
  /** How much later than promised an answer may be on a machine that is busy with tests. */
  const lagMs = 400

  async function assertInTime(answers: readonly Answer[], timeoutMs: number) {
    for (const { status, headers, sentAt, answeredAt } of answers) {
      assert.equal(status, 503)
      assert.ok(
        Number(headers['x-process-time-ms']) <= timeoutMs + lagMs,
        `${headers['x-process-time-ms']} ms`,
      )
      assert.ok(answeredAt - sentAt <= timeoutMs + lagMs, `${answeredAt - sentAt} ms`)
    }
  }

  test('a frozen PostgreSQL: 50 clients get 503 in time, and the first request after it is healthy', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url, HEALTH_TIMEOUT_MS: '600' })
    await server.event('healthy')
    t.after(() => postgres.thaw())
    postgres.freeze()
    await assertInTime(await crowd(server.origin, 50, 2), 600)
    postgres.thaw()
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
  })

  test('a stalled network: each request gets 503 by its own deadline, waiting included', async t => {
    const { proxy, server } = await startBehindProxy(t, { HEALTH_TIMEOUT_MS: '600' })
    await server.event('healthy')
    proxy.stall()
    const asked: Promise<Answer>[] = []
    for (let client = 0; client < 10; client += 1) {
      asked.push(ask(`${server.origin}/health`))
      // Spread over the time of the first check.
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    const answers = await Promise.all(asked)
    await assertInTime(answers, 600)
    assert.ok(answers.every(({ body }) => body === unhealthy(sentences.connect_timeout)))
    proxy.flow()
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
    assert.ok(proxy.mostConnections <= 2, 'the one that went silent, and the one that is still being opened')
  })

  test('/livez answers while the database hangs', async t => {
    const { proxy, server } = await startBehindProxy(t)
    proxy.stall()
    const hanging = ask(`${server.origin}/health`)
    assert.equal((await ask(`${server.origin}/livez`)).body, '{"status": "alive"}')
    proxy.flow()
    await hanging
  })
})

test('the first request after an outage is healthy, however many got 503 before', async t => {
  const server = await start(t, { DATABASE_URL: postgres.url })
  await postgres.stop()
  for (let request = 0; request < 20; request += 1) {
    assert.equal((await ask(`${server.origin}/health`)).body, unhealthy(sentences.unreachable))
  }
  await postgres.start()
  assert.equal((await ask(`${server.origin}/health`)).body, healthy)
})

describe('the program', () => {
  test('starts while the database is down, logs that, and is healthy on the first request after', async t => {
    await postgres.stop()
    const server = await start(t, { DATABASE_URL: postgres.url })
    const first = await server.event('unhealthy')
    assert.equal(first['reason'], 'unreachable')
    assert.equal(first['code'], 'ECONNREFUSED')
    assert.equal(first['first'], true)
    await postgres.start()
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
    assert.equal((await server.event('healthy'))['level'], 'info')
  })

  test('logs its version, the database without the password, its address and the first result', async t => {
    const url = postgres.url.replace('postgres@', 'postgres:geheim@')
    const server = await start(t, { DATABASE_URL: url })
    await server.event('healthy')
    const [started, listening, result] = server.events()
    assert.match(String(started?.['version']), /^\d+\.\d+\.\d+$/)
    assert.equal(started?.['database'], url.replace('geheim', '***'))
    assert.equal(listening?.['message'], `listening on ${server.origin}/health`)
    assert.equal(result?.['first'], true)
    assert.doesNotMatch(server.output(), /geheim/)
  })

  test('logs changes of the verdict, not every request', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url, HEALTH_SLOW_MS: '60000' })
    await crowd(server.origin, 10, 20)
    await postgres.stop()
    await crowd(server.origin, 1, 10)
    await postgres.start()
    await crowd(server.origin, 10, 20)
    const names = server.events().map(({ event }) => event)
    assert.deepEqual(names, ['start', 'listening', 'healthy', 'unhealthy', 'healthy'])
  })

  test('takes from PG… variables beside a URL only what the URL does not say', async t => {
    const other = { PGHOST: '192.0.2.1', PGPORT: '1', PGUSER: 'nobody', PGDATABASE: 'nowhere' }
    const server = await start(t, { ...other, DATABASE_URL: postgres.url })
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
  })

  test('is healthy on your own database when TEST_DATABASE_URL is set', async t => {
    const server = await start(t, { DATABASE_URL: process.env['TEST_DATABASE_URL'] ?? postgres.url })
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
  })

  test('connects by PGHOST, PGPORT and PGUSER when there is no URL', async t => {
    const server = await start(t, { PGHOST: '127.0.0.1', PGPORT: `${postgres.port}`, PGUSER: 'postgres' })
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
  })

  test('the client reads nothing of the raw error, and the log has no password', async t => {
    const server = await start(t, { DATABASE_URL: 'postgres://nobody:geheim@pg-health.invalid/nowhere' })
    const { status, body } = await ask(`${server.origin}/health`)
    assert.equal(status, 503)
    assert.equal(body, unhealthy(sentences.unreachable))
    await server.event('unhealthy')
    assert.doesNotMatch(server.output(), /geheim/)
  })

  test('HEALTH_UNHEALTHY_STATUS is the status when unhealthy', async t => {
    const server = await start(t, {
      DATABASE_URL: 'postgres://x@127.0.0.1:1/x',
      HEALTH_UNHEALTHY_STATUS: '200',
    })
    const { status, body } = await ask(`${server.origin}/health`)
    assert.equal(status, 200)
    assert.equal(body, unhealthy(sentences.unreachable))
  })

  test('continues to answer when the reader of its output has exited', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url })
    await server.event('healthy')
    server.child.stdout?.destroy()
    server.child.stderr?.destroy()
    await postgres.stop()
    assert.equal((await ask(`${server.origin}/health`)).status, 503)
    await postgres.start()
    assert.equal((await ask(`${server.origin}/health`)).status, 200)
  })

  /** Starts the program with a fault inside, and triggers it by SIGUSR2. */
  async function startWithFault(t: TestContext, fault: string) {
    const code = encodeURIComponent(`process.on('SIGUSR2', () => { ${fault} })`)
    const command = ['--import', `data:text/javascript,${code}`, ...program]
    const server = await startServer({ DATABASE_URL: postgres.url }, command)
    t.after(() => server.stop('SIGKILL'))
    await server.event('healthy')
    server.child.kill('SIGUSR2')
    return server
  }

  test('an unhandled rejection costs one session and one log line, not the process', async t => {
    const server = await startWithFault(t, "Promise.reject(new Error('ge' + 'heim'))")
    await server.event('unhandled_rejection')
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
    assert.doesNotMatch(server.output(), /geheim/)
  })

  test('an uncaught exception: exit 70, and the log says where, without the message', async t => {
    const server = await startWithFault(t, "throw new Error('ge' + 'heim')")
    await server.event('uncaught_exception')
    if (server.child.exitCode === null) await once(server.child, 'exit')
    assert.equal(server.child.exitCode, 70)
    assert.doesNotMatch(server.output(), /geheim/)
  })
})

describe('commands', () => {
  const settings = { DATABASE_URL: 'postgres://u:geheim@127.0.0.1:1/x' }

  test('--help lists every exit code and setting, --version prints that of package.json', async () => {
    const { code, stdout } = await runServer(['--help'], {})
    assert.equal(code, 0)
    for (const { name } of settingsTable) assert.ok(stdout.includes(`\n  ${name}`), name)
    for (const exit of [0, 1, 64, 70, 78]) assert.match(stdout, new RegExp(`Exit codes:.*\\b${exit} \\w`))
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    assert.equal((await runServer(['--version'], {})).stdout, `pg-health ${version}\n`)
  })

  const stripsTypes = Boolean((process.features as { typescript?: unknown }).typescript)
  // All other tests run the built program.
  for (const [runner, args, skip] of [
    ['tsx', ['--import', 'tsx'], false],
    ['Node.js itself', [], !stripsTypes && 'this Node.js runs no TypeScript; 22.18 and later do'],
  ] as const) {
    test(`server.ts runs through ${runner}`, { skip }, async () => {
      const command = [...args, 'server.ts', '--version']
      const { code, stdout } = await runChild(process.execPath, command, { cwd: root })
      assert.equal(code, 0)
      assert.match(stdout, /^pg-health \d/)
    })
  }

  test('--check-config says that the settings are right, and masks the password', async () => {
    const { code, stdout } = await runServer(['--check-config'], settings)
    assert.equal(code, 0)
    assert.match(stdout, /u:\*\*\*@127\.0\.0\.1:1\/x/)
  })

  test('wrong settings: exit 78 before listening, one line for each fault, no secret', async () => {
    for (const args of [[], ['--check-config']]) {
      const wrong = { DATABASE_URL: 'postgres://u:ge/he@im@h/x', PORT: 'tcp://10.0.0.1:80', DRAIN_MS: '5s' }
      const { code, stdout, stderr } = await runServer(args, wrong)
      assert.equal(code, 78)
      assert.equal(stdout, '')
      const lines = stderr.trim().split('\n')
      assert.deepEqual(lines.map(line => /^pg-health: (\w+) /.exec(line)?.[1]).sort(), [
        'DATABASE_URL',
        'DRAIN_MS',
        'PORT',
      ])
      assert.doesNotMatch(stderr, /he@im|ge\/|10\.0/)
    }
  })

  test('a setting that names a device is a fault: reading one might never end', async () => {
    const { code, stderr } = await runServer(['--check-config'], { DATABASE_URL_FILE: '/dev/zero' })
    assert.equal(code, 78)
    assert.equal(stderr, 'pg-health: DATABASE_URL_FILE names a file that cannot be read (NOT_A_FILE)\n')
  })

  test('no database configured: exit 78, and the fault says what to set', async () => {
    const { code, stderr } = await runServer([], {})
    assert.equal(code, 78)
    assert.match(stderr, /DATABASE_URL.*npm run dev/)
  })

  test('an unknown argument: exit 64, and it is not repeated', async () => {
    const { code, stderr } = await runServer([settings.DATABASE_URL], settings)
    assert.equal(code, 64)
    assert.doesNotMatch(stderr, /geheim/)
  })

  test('check prints what the server answers: exit 0 when healthy, else 1; --quiet prints nothing', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url })
    const port = new URL(server.origin).port
    assert.deepEqual(await runServer(['check', `${server.origin}/health`], {}), {
      code: 0,
      stdout: '✓ API is healthy\n',
      stderr: '',
    })
    assert.deepEqual(await runServer(['check', '--quiet'], { PORT: port }), {
      code: 0,
      stdout: '',
      stderr: '',
    })
    await postgres.stop()
    const down = await runServer(['check', '--timeout', '3000'], { PORT: port })
    assert.deepEqual(down, { code: 1, stdout: '✗ API unhealthy: database unreachable\n', stderr: '' })
    await postgres.start()
    await server.stop()
    const gone = await runServer(['check'], { PORT: port })
    assert.equal(gone.code, 1)
    assert.match(gone.stdout, /^✗ Health check failed: .*ECONNREFUSED/)
  })
  test('check --wait prints one line per change: exit 0 once healthy, 1 when the time is over', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url })
    const { port } = new URL(server.origin)
    await postgres.stop()
    const gaveUp = await runServer(['check', '--wait', '700'], { PORT: port })
    assert.deepEqual(gaveUp, { code: 1, stdout: '✗ API unhealthy: database unreachable\n', stderr: '' })
    const args = [...program, 'check', '--wait', '60000']
    const waiting = startChild(process.execPath, args, { cwd: root, env: environmentOf({ PORT: port }) })
    await waiting.said(/\n/)
    assert.equal(waiting.output(), '✗ API unhealthy: database unreachable\n')
    await postgres.start()
    assert.equal(await waiting.ended, 0)
    assert.match(waiting.output(), /unreachable\n(✗ .+\n)*✓ API is healthy\n$/)
  })

  test('check --wait on a terminal rewrites one line with seconds and the reason', async t => {
    const script = findTool(t, 'script')
    if (!script) return
    const server = await start(t, { DATABASE_URL: postgres.url })
    await postgres.stop()
    t.after(() => postgres.start())
    const command = `${process.execPath} ${program.join(' ')} check ${server.origin}/health --wait 1500`
    const { stdout } = await promisify(execFile)(script, ['-qc', command, '/dev/null'], { cwd: root }).catch(
      ({ stdout, code }) => ({ stdout, code }),
    )
    const line = '✗ API unhealthy: database unreachable'
    const shown = stdout.split('\r')
    assert.ok(shown.includes(`0 s ${line}\x1b[K`) && shown.includes(`1 s ${line}\x1b[K`), stdout)
    assert.deepEqual(shown.slice(-2), [`\x1b[K${line}`, '\n'])
  })

  test('check --nagios: OK, WARNING, CRITICAL and UNKNOWN with the time, all on standard output', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url })
    const { port } = new URL(server.origin)
    const settings = { PORT: port, HEALTH_SLOW_MS: '60000' }
    const ok = await runServer(['check', '--nagios'], settings)
    assert.equal(ok.code, 0)
    assert.match(ok.stdout, /^HEALTH OK - API is healthy \| time=\d\.\d{3}s;60\.000;5\.000;0;5\.000\n$/)
    const warning = await runServer(['check', '--nagios'], { PORT: port, HEALTH_SLOW_MS: '1' })
    assert.equal(warning.code, 1)
    await postgres.stop()
    const critical = await runServer(['check', '--nagios'], settings)
    await postgres.start()
    assert.equal(critical.code, 2)
    assert.match(critical.stdout, /^HEALTH CRITICAL - API unhealthy: database unreachable \| time=/)
    for (const unknown of [
      await runServer(['check', '--nagios', '--timeout', 'x'], settings),
      await runServer(['check', '--nagios'], { PORT: 'x' }),
    ]) {
      assert.equal(unknown.code, 3)
      assert.match(unknown.stdout, /^HEALTH UNKNOWN - (--timeout|PORT) must be [^|\n]+\n$/)
    }
  })
})
