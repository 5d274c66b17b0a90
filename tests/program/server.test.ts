// The whole program, as a process, with a real PostgreSQL: the four promises, and what a caller sees of each fault.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { after, before, describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { settings as settingsTable } from '../../lib/config/settings.ts'
import { sentences } from '../../lib/health/verdict.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy, type Statement } from '../support/proxy.ts'
import { type Answer, ask, type Running, runServer, startServer } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

const healthy = '{"status": "healthy","database": "connected"}'
const unhealthy = (sentence: string) => `{"status": "unhealthy","error": "${sentence}"}`

let postgres: Postgres
before(async () => {
  postgres = await openPostgres()
})
after(() => postgres.close())

/** The program behind a recording proxy; both end with the test. */
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

/** So many clients, each with a connection that it keeps, ask one after the other. */
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

/** Some statement began after the request was sent and ended, answered, before its answer was read. */
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
    test(`every healthy answer to ${clients} clients rests on a statement that began after its request and ended before its answer; never are two open`, async t => {
      const { proxy, server } = await startBehindProxy(t)
      await server.event('healthy')
      // A statement takes long enough for many to arrive while it runs.
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
        `${proxy.statements.length} statements are shared`,
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

  test('a frozen PostgreSQL: every one of 50 clients is told within the deadline, and the first request after it thaws is answered 200', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url, HEALTH_TIMEOUT_MS: '600' })
    await server.event('healthy')
    t.after(() => postgres.thaw())
    postgres.freeze()
    await assertInTime(await crowd(server.origin, 50, 2), 600)
    postgres.thaw()
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
  })

  test('a stalled network: every request is told at its own deadline, the wait for the check before it included', async t => {
    const { proxy, server } = await startBehindProxy(t, { HEALTH_TIMEOUT_MS: '600' })
    await server.event('healthy')
    proxy.stall()
    const asked: Promise<Answer>[] = []
    for (let client = 0; client < 10; client += 1) {
      asked.push(ask(`${server.origin}/health`))
      // Their pace: they come all through the time of the first check.
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

describe('healed by the first probe', () => {
  let server: Running
  before(async () => {
    server = await startServer({ DATABASE_URL: postgres.url })
  })
  after(() => server.stop('SIGKILL'))
  async function assertHealed() {
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
  }

  test('kill -9 of the whole server', async () => {
    await postgres.kill()
    assert.equal((await ask(`${server.origin}/health`)).body, unhealthy(sentences.unreachable))
    await postgres.start()
    await assertHealed()
  })

  for (const mode of ['fast', 'immediate'] as const) {
    test(`a stop, ${mode}`, async () => {
      await postgres.stop(mode)
      assert.equal((await ask(`${server.origin}/health`)).body, unhealthy(sentences.unreachable))
      await postgres.start()
      await assertHealed()
    })
  }

  test('a restart between two probes goes unnoticed', async () => {
    await postgres.stop()
    await postgres.start()
    await assertHealed()
  })

  test('an outage of many probes', async () => {
    await postgres.stop()
    for (let probe = 0; probe < 20; probe += 1) {
      assert.equal((await ask(`${server.origin}/health`)).status, 503)
    }
    await postgres.start()
    await assertHealed()
  })
})

describe('the program', () => {
  test('starts while the database is down, says so, and turns healthy with the first probe after it is up', async t => {
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

  test('logs its version, the database without the password, the first result and where it listens', async t => {
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

  test('logs changes and not probes', async t => {
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

  test('is healthy on a database of yours: at TEST_DATABASE_URL, when that is set', async t => {
    const server = await start(t, { DATABASE_URL: process.env['TEST_DATABASE_URL'] ?? postgres.url })
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
  })

  test('serves from PGHOST and its kin', async t => {
    const server = await start(t, { PGHOST: '127.0.0.1', PGPORT: `${postgres.port}`, PGUSER: 'postgres' })
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
  })

  test('says nothing of the raw error to the caller, and no password to the log', async t => {
    const server = await start(t, { DATABASE_URL: 'postgres://nobody:geheim@pg-health.invalid/nowhere' })
    const { status, body } = await ask(`${server.origin}/health`)
    assert.equal(status, 503)
    assert.equal(body, unhealthy(sentences.unreachable))
    await server.event('unhealthy')
    assert.doesNotMatch(server.output(), /geheim/)
  })

  test('answers HEALTH_UNHEALTHY_STATUS when unhealthy', async t => {
    const server = await start(t, {
      DATABASE_URL: 'postgres://x@127.0.0.1:1/x',
      HEALTH_UNHEALTHY_STATUS: '200',
    })
    const { status, body } = await ask(`${server.origin}/health`)
    assert.equal(status, 200)
    assert.equal(body, unhealthy(sentences.unreachable))
  })

  test('goes on answering when the reader of its output has gone', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url })
    await server.event('healthy')
    server.child.stdout?.destroy()
    server.child.stderr?.destroy()
    await postgres.stop()
    assert.equal((await ask(`${server.origin}/health`)).status, 503)
    await postgres.start()
    assert.equal((await ask(`${server.origin}/health`)).status, 200)
  })

  /** The program with a fault of ours in it, which SIGUSR2 sets off. */
  async function startWithFault(t: TestContext, fault: string) {
    const code = encodeURIComponent(`process.on('SIGUSR2', () => { ${fault} })`)
    const program = ['--import', `data:text/javascript,${code}`, '--import', 'tsx', 'server.ts']
    const server = await startServer({ DATABASE_URL: postgres.url }, program)
    t.after(() => server.stop('SIGKILL'))
    await server.event('healthy')
    server.child.kill('SIGUSR2')
    return server
  }

  test('a promise that nobody holds costs a session and a line, not the process', async t => {
    const server = await startWithFault(t, "Promise.reject(new Error('ge' + 'heim'))")
    await server.event('unhandled_rejection')
    assert.equal((await ask(`${server.origin}/health`)).body, healthy)
    assert.doesNotMatch(server.output(), /geheim/)
  })

  test('an exception that nobody catches ends it with 70, and the log has where, not what', async t => {
    const server = await startWithFault(t, "throw new Error('ge' + 'heim')")
    await server.event('uncaught_exception')
    if (server.child.exitCode === null) await once(server.child, 'exit')
    assert.equal(server.child.exitCode, 70)
    assert.doesNotMatch(server.output(), /geheim/)
  })
})

describe('commands', () => {
  const settings = { DATABASE_URL: 'postgres://u:geheim@127.0.0.1:1/x' }

  test('--help names every exit code and setting, --version the version of package.json', async () => {
    const { code, stdout } = await runServer(['--help'], {})
    assert.equal(code, 0)
    for (const { name } of settingsTable) assert.ok(stdout.includes(`\n  ${name}`), name)
    for (const exit of [0, 1, 64, 70, 78]) assert.match(stdout, new RegExp(`Exit codes:.*\\b${exit} \\w`))
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    assert.equal((await runServer(['--version'], {})).stdout, `pg-health ${version}\n`)
  })

  test('--check-config says that the settings are right, with the password masked', async () => {
    const { code, stdout } = await runServer(['--check-config'], settings)
    assert.equal(code, 0)
    assert.match(stdout, /u:\*\*\*@127\.0\.0\.1:1\/x/)
  })

  test('a wrong setting ends the program before it listens: exit 78, every fault on a line, no secret', async () => {
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

  test('a file that is no file is a fault, not a wait: a FIFO would keep the program for ever', async () => {
    const { code, stderr } = await runServer(['--check-config'], { DATABASE_URL_FILE: '/dev/zero' })
    assert.equal(code, 78)
    assert.equal(stderr, 'pg-health: DATABASE_URL_FILE names a file that cannot be read (NOT_A_FILE)\n')
  })

  test('no database at all is a fault that says what to set', async () => {
    const { code, stderr } = await runServer([], {})
    assert.equal(code, 78)
    assert.match(stderr, /DATABASE_URL.*npm run dev/)
  })

  test('an argument that is not understood: exit 64, and it is not repeated', async () => {
    const { code, stderr } = await runServer([settings.DATABASE_URL], settings)
    assert.equal(code, 64)
    assert.doesNotMatch(stderr, /geheim/)
  })

  test('check says what a running server says: exit 0 when healthy, else 1; --quiet says nothing', async t => {
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
  test('check --wait asks until the server is healthy: a line for every change, exit 0; else exit 1', async t => {
    const server = await start(t, { DATABASE_URL: postgres.url })
    const { port } = new URL(server.origin)
    await postgres.stop()
    const gaveUp = await runServer(['check', '--wait', '700'], { PORT: port })
    assert.deepEqual(gaveUp, { code: 1, stdout: '✗ API unhealthy: database unreachable\n', stderr: '' })
    const args = ['--import', 'tsx', 'server.ts', 'check', '--wait', '60000']
    const waiting = spawn(process.execPath, args, { cwd: root, env: { ...process.env, PORT: port } })
    let output = ''
    waiting.stdout.on('data', chunk => {
      output += chunk
    })
    const closed = once(waiting, 'close')
    await once(waiting.stdout, 'data')
    assert.equal(output, '✗ API unhealthy: database unreachable\n')
    await postgres.start()
    assert.deepEqual(await closed, [0, null])
    assert.match(output, /unreachable\n(✗ .+\n)*✓ API is healthy\n$/)
  })

  test('check --wait shows on a terminal one line that goes on: seconds and the reason', async t => {
    const script = findTool(t, 'script')
    if (!script) return
    const server = await start(t, { DATABASE_URL: postgres.url })
    await postgres.stop()
    t.after(() => postgres.start())
    const command = `${process.execPath} --import tsx server.ts check ${server.origin}/health --wait 1500`
    const { stdout } = await promisify(execFile)(script, ['-qc', command, '/dev/null'], { cwd: root }).catch(
      ({ stdout, code }) => ({ stdout, code }),
    )
    const line = '✗ API unhealthy: database unreachable'
    const shown = stdout.split('\r')
    assert.ok(shown.includes(`0 s ${line}\x1b[K`) && shown.includes(`1 s ${line}\x1b[K`), stdout)
    assert.deepEqual(shown.slice(-2), [`\x1b[K${line}`, '\n'])
  })

  test("check waits longer than the server's own deadline, and reads the reason", async t => {
    const HEALTH_TIMEOUT_MS = '5500'
    const server = await start(t, { DATABASE_URL: postgres.url, HEALTH_TIMEOUT_MS })
    await server.event('healthy')
    t.after(() => postgres.thaw())
    postgres.freeze()
    const { port } = new URL(server.origin)
    const { stdout } = await runServer(['check'], { PORT: port, HEALTH_TIMEOUT_MS })
    assert.match(stdout, /^✗ API unhealthy: .*timed out\n$/)
    postgres.thaw()
  })

  test('check --nagios speaks as a plugin: OK, CRITICAL, UNKNOWN, with the time, all on standard output', async t => {
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
