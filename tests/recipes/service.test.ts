// The units of deploy/systemd, installed as docs/deploying.md says, in a container whose first process is systemd.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { usage } from '../../lib/config/command.ts'
import { settings } from '../../lib/config/settings.ts'
import { type Cleanup, createCleanup, findRuntime, type Runtime } from '../support/containers.ts'
import { findTool } from '../support/tools.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const unit = join(root, 'deploy/systemd/pg-health.service')
const unitText = readFileSync(unit, 'utf8')
const deploying = readFileSync(join(root, 'docs/deploying.md'), 'utf8')
/** The commands of docs/deploying.md: the first makes the program, the others install it. */
const [make = '', ...install] = (/^## systemd[\s\S]*?```sh\n([\s\S]*?)```/m.exec(deploying)?.[1] ?? '').split(
  '\n',
)

/** systemd, Node.js and PostgreSQL 15 in one image. */
const image = 'systemd-lab'
const healthy = '{"status": "healthy","database": "connected"}'

const unitValue = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(unitText)?.[1] ?? ''

test('TimeoutStopSec leaves time for DRAIN_MS and 3 s', () => {
  const drainMs = Number(settings.find(({ name }) => name === 'DRAIN_MS')?.defaultText)
  const [, seconds] = /^(\d+)s$/.exec(unitValue('TimeoutStopSec')) ?? []
  assert.ok(Number(seconds) * 1000 >= drainMs + 3_000)
})

test('RestartPreventExitStatus has the exit codes of usage and configuration', () => {
  const codes = ['usage', 'configuration'].map(word => new RegExp(`(\\d+) ${word}`).exec(usage)?.[1] ?? '')
  const prevented = unitValue('RestartPreventExitStatus').split(' ')
  for (const code of codes) assert.ok(prevented.includes(code), `${code} in ${prevented}`)
})

test("systemd-analyze rates the service's exposure at 1.5 of 10 at most", async t => {
  const analyze = findTool(t, 'systemd-analyze')
  if (!analyze) return
  // It exits 1 above the threshold, which is in tenths.
  const args = ['security', '--offline=true', '--no-pager', '--threshold=15', unit]
  const { stdout } = await promisify(execFile)(analyze, args)
  assert.match(stdout, /Overall exposure level for pg-health.service: [01][.]\d/)
})

/** Starts a container with systemd, and copies the built program and deploy/ to /checkout. */
async function startLab(later: Cleanup, { GenericContainer, Wait, client }: Runtime) {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-'))
  later(async () => rmSync(folder, { recursive: true }))
  await promisify(execFile)('npm', ['run', 'build', '--', `--outdir=${folder}`], { cwd: root })
  class Machine extends GenericContainer {
    constructor() {
      super(image)
      Object.assign(this.hostConfig, { CgroupnsMode: 'host' })
      this.withAddedCapabilities('SYS_ADMIN', 'NET_ADMIN', 'SYS_PTRACE', 'DAC_READ_SEARCH', 'SYS_NICE')
        .withSecurityOpt('seccomp=unconfined', 'apparmor=unconfined')
        .withTmpFs({ '/run': '', '/run/lock': '', '/tmp': '' })
        .withBindMounts([{ source: '/sys/fs/cgroup', target: '/sys/fs/cgroup', mode: 'rw' }])
    }
  }
  const container = await new Machine()
    .withCopyDirectoriesToContainer([
      { source: folder, target: '/checkout/dist' },
      { source: join(root, 'deploy'), target: '/checkout/deploy' },
    ])
    .withCopyFilesToContainer([
      { source: join(root, 'package.json'), target: '/checkout/package.json' },
      { source: process.execPath, target: '/opt/node', mode: 0o755 },
    ])
    .withWaitStrategy(Wait.forSuccessfulCommand('systemctl is-system-running --wait'))
    .withAutoRemove(false)
    .start()
  later(() => client.container.getById(container.getId()).remove({ force: true, v: true }))

  /** Runs a script there. Gives its output, standard error included, and its exit code. */
  async function run(script: string) {
    const { output, exitCode } = await container.exec(['bash', '-c', script], { workingDir: '/checkout' })
    return { output: output.trim(), exitCode }
  }

  /** Runs a script there that must succeed. Gives its output. */
  async function sh(script: string) {
    const { output, exitCode } = await run(script)
    assert.equal(exitCode, 0, `${script}\n${output}`)
    return output
  }

  async function show(name: string, of = 'pg-health.service') {
    return sh(`systemctl show -P ${name} ${of}`)
  }

  /** Resolves when the script succeeds there; rejects when it has not after a minute. */
  async function until(script: string) {
    await sh(`for turn in {1..600}; do if ${script}; then exit; fi; sleep 0.1; done; exit 1`)
  }

  /** Stops everything, deletes all drop-ins, and adds these to the units. */
  async function reset(dropIns: { service?: string; socket?: string } = {}) {
    await run('systemctl stop pg-health.socket pg-health.service; systemctl reset-failed')
    await sh('rm -rf /run/systemd/system/pg-health.*.d; journalctl --sync')
    // `journal` shows only lines after this.
    await sh('date +@%s.%6N >/run/mark')
    for (const [kind, lines = ''] of Object.entries(dropIns)) {
      const folder = `/run/systemd/system/pg-health.${kind}.d`
      await sh(
        `mkdir -p ${folder}; printf '%s\\n' '[${kind === 'socket' ? 'Socket' : 'Service'}]' ${lines} >${folder}/test.conf`,
      )
    }
    await sh('systemctl daemon-reload')
  }

  return { run, sh, show, until, reset }
}

type Lab = Awaited<ReturnType<typeof startLab>>

/** Asks every 20 ms on a new connection, while systemctl restarts the service and until it is healthy. */
const prober = `
  import { spawn } from 'node:child_process'
  import http from 'node:http'
  const seen = []
  let asked = 0
  const ask = () => new Promise(resolve => {
    const number = asked++
    const note = what => resolve((seen[number] = what))
    http.get('http://127.0.0.1:8000/health', { agent: false }, response => {
      response.resume().on('end', () => note(response.statusCode)).on('error', error => note(error.code))
    }).on('error', error => note(error.code))
  })
  const answers = []
  await ask()
  const timer = setInterval(() => answers.push(ask()), 20)
  spawn('systemctl', ['restart', 'pg-health']).on('exit', async code => {
    while ((await ask()) !== 200);
    clearInterval(timer)
    await Promise.all(answers)
    console.log(JSON.stringify({ code, asked, runs: seen.filter((what, index) => what !== seen[index - 1]) }))
  })`

/** The service's log lines since the last reset, of this priority or worse. */
const journal = (priority: string) =>
  `journalctl --sync; journalctl -q -o cat -p ${priority} -u pg-health _TRANSPORT=stdout \
  --since="$(cat /run/mark 2>/dev/null || echo @0)"`

test('systemd: installed as docs/deploying.md says, in its sandbox, through its socket', {
  timeout: 600_000,
}, async t => {
  const runtime = await findRuntime(t, [image], 'systemd')
  if (!runtime) return
  const lab = await startLab(createCleanup(t), runtime)
  const { sh, show, until, reset } = lab
  assert.equal(make, 'npm ci && npm run build')
  await sh(`su postgres -c "psql -qc \\"CREATE ROLE health LOGIN PASSWORD 'password'\\""`)

  await t.test('starts in its sandbox, reads the credential and serves on the socket', async () => {
    const output = await sh(['set -e', ...install].join('\n'))
    assert.match(output, /Active: active \(running\)/)
    assert.equal(await sh('systemd-analyze verify /etc/systemd/system/pg-health.*'), '')
    assert.equal(await sh('curl -sS http://localhost:8000/health'), healthy)
    const pid = await show('MainPID')
    const status = await sh(`cat /proc/${pid}/status`)
    assert.match(status, /^Uid:\t(6[1-5]\d{3})\t\1\t\1\t\1$/m, 'a dynamic user')
    assert.match(status, /^NoNewPrivs:\t1$/m)
    assert.match(status, /^Seccomp:\t2$/m)
    assert.match(status, /^CapBnd:\t0+$/m)
    assert.equal(await sh('stat -c %a,%U /etc/pg-health/database-url'), '600,root')
    const [start = '', listening] = (await sh(journal('info'))).split('\n')
    assert.match(start, /^pg-health [\d.]+, database postgres:\/\/health:\*\*\*@localhost:5432\/postgres$/)
    assert.equal(listening, 'listening on http://localhost:8000/health')
    const socket = await sh(`readlink /proc/${pid}/fd/3`)
    assert.match(socket, /^socket:/)
    assert.ok((await sh('readlink /proc/1/fd/*')).split('\n').includes(socket), "systemd's own")
  })

  await t.test('shows the verdict in systemctl status, and its priority in the journal', async () => {
    await until('systemctl status pg-health | grep -q "Status: .healthy (first result)"')
    await sh('systemctl stop postgresql@15-main')
    assert.match(await sh('curl -s localhost:8000/health'), /database unreachable/)
    await until(
      'systemctl status pg-health | grep -q "Status: .unhealthy: database unreachable (ECONNREFUSED), after"',
    )
    assert.match(
      await sh(journal('err')),
      /^unhealthy: database unreachable \(ECONNREFUSED\), after [\d.]+ s healthy$/,
    )
    await sh('systemctl start postgresql@15-main')
    await until(`curl -s localhost:8000/health | grep -q '"status": "healthy"'`)
    await until('systemctl status pg-health | grep -q "Status: .healthy, after"')
    assert.equal(await show('NRestarts'), '0')
  })

  await t.test('a restart refuses no request: 503, then 200', async () => {
    const output = await sh(`timeout 60 node --input-type=module -e '${prober.replaceAll("'", '"')}'`)
    const { code, asked, runs } = JSON.parse(output)
    assert.equal(code, 0)
    assert.deepEqual(runs, [200, 503, 200])
    assert.ok(asked > 100, `asked ${asked} times`)
  })

  await t.test('kill -9: the next process answers the next request', async () => {
    const pid = await show('MainPID')
    await sh('systemctl kill -s KILL pg-health')
    assert.equal(await sh('curl -sS http://localhost:8000/health'), healthy)
    assert.notEqual(await show('MainPID'), pid)
  })

  await t.test('a stop is clean and within its time, and the socket stays', async () => {
    const before = Date.now()
    await sh('systemctl stop pg-health.service')
    assert.ok(Date.now() - before < Number.parseInt(unitValue('TimeoutStopSec'), 10) * 1000)
    assert.deepEqual([await show('Result'), await show('ExecMainStatus')], ['success', '0'])
    assert.equal(await show('ActiveState', 'pg-health.socket'), 'active')
    assert.match(await sh(journal('info')), /\nstopped$/)
  })

  await t.test('a Unix socket is served, and stays where it is', async () => {
    await reset({
      socket: 'ListenStream= ListenStream=/run/pg-health.sock',
      service: 'Environment=DRAIN_MS=0',
    })
    await sh('systemctl start pg-health.socket')
    const ask = 'curl -sS --unix-socket /run/pg-health.sock http://localhost/health'
    assert.equal(await sh(ask), healthy)
    await sh('systemctl stop pg-health.service')
    assert.equal(await sh(ask), healthy)
  })

  await t.test('without its socket unit it listens on PORT, and is restarted after kill -9', async () => {
    await reset({ service: 'Environment=PORT=8001 Environment=DRAIN_MS=0' })
    await sh('systemctl start pg-health.service')
    assert.equal(await sh('curl -sS http://localhost:8001/health'), healthy)
    await sh('systemctl kill -s KILL pg-health')
    await until('[ $(systemctl show -P NRestarts pg-health) = 1 ]')
    await until('systemctl is-active -q pg-health')
    assert.equal(await sh('curl -sS http://localhost:8001/health'), healthy)
  })

  await t.test(`the sandbox works with Node.js ${process.version}`, async () => {
    await reset({ service: `ExecStart= "ExecStart=/opt/node /opt/pg-health/dist/server.js"` })
    await sh('systemctl start pg-health.service')
    assert.equal(await sh('curl -sS http://localhost:8000/health'), healthy)
  })

  await badInput(t.test.bind(t), lab)
})

async function badInput(test: (name: string, run: () => Promise<void>) => Promise<void>, lab: Lab) {
  const { run, sh, show, until, reset } = lab
  const server = '/usr/bin/node /opt/pg-health/dist/server.js'
  for (const [what, dropIns, status, line] of [
    ['a wrong setting', { service: 'Environment=DRAIN_MS=x' }, '78', /^pg-health: DRAIN_MS must be .+$/],
    [
      'a wrong command line',
      { service: `ExecStart= "ExecStart=${server} --wrong"` },
      '64',
      /^pg-health: Unknown option '--wrong'\npg-health: Try --help.$/,
    ],
    [
      'a credential that is not where the setting says',
      { service: 'Environment=DATABASE_URL_FILE=%%d/nothing' },
      '78',
      /^pg-health: DATABASE_URL_FILE names a file that cannot be read \(ENOENT\)$/,
    ],
    ['no credential', { service: 'LoadCredential= LoadCredential=database-url:/nowhere' }, '243', /^$/],
    [
      'a datagram socket',
      { socket: 'ListenStream= ListenDatagram=8000' },
      '78',
      /^can't listen on descriptor 3 of systemd: EINVAL \(a unit needs ListenStream= and Accept=no\)$/,
    ],
    [
      'two sockets',
      { socket: 'ListenStream=8001' },
      '78',
      /^pg-health: LISTEN_FDS must be 1: one socket is served, so the unit needs one ListenStream=$/,
    ],
  ] as [string, Parameters<Lab['reset']>[0] & object, string, RegExp][]) {
    await test(`${what}: one clear line, exit ${status}, no restart`, async () => {
      await reset(dropIns)
      if (dropIns.socket) await sh('systemctl start pg-health.socket')
      assert.notEqual((await run('systemctl start pg-health.service')).exitCode, 0)
      // If systemd were to restart it, it would be "activating" now.
      assert.deepEqual([await show('ActiveState'), await show('NRestarts')], ['failed', '0'])
      assert.equal(await show('ExecMainStatus'), status)
      assert.match(await sh(journal('err')), line)
    })
  }

  await test('a port in use: one clear line for each attempt, then systemd gives up', async () => {
    await reset()
    await sh('systemd-run -q --unit=taken node -e "net.createServer().listen(8000)"')
    await until('(echo >/dev/tcp/127.0.0.1/8000) 2>/dev/null')
    assert.notEqual((await run('systemctl start pg-health.service')).exitCode, 0)
    await until('[ $(systemctl show -P ActiveState pg-health) = failed ]')
    await sh('systemctl stop taken')
    assert.equal(await show('ExecMainStatus'), '1')
    const lines = (await sh(journal('err'))).split('\n')
    assert.deepEqual(
      lines,
      Array(Number(unitValue('StartLimitBurst'))).fill("can't listen on port 8000: EADDRINUSE"),
    )
  })

  await test('a wrong setting behind a busy socket: systemd gives up', async () => {
    await reset({ service: 'Environment=DRAIN_MS=x' })
    await sh('systemctl start pg-health.socket')
    await until('! curl -s http://localhost:8000/health && systemctl is-failed -q pg-health.socket')
    assert.equal(await show('Result', 'pg-health.socket'), 'service-start-limit-hit')
    assert.equal((await sh(journal('err'))).split('\n').length, Number(unitValue('StartLimitBurst')))
  })
}
