// The running program and systemd's protocols, without systemd: a passed socket, systemd-notify, the journal.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, constants, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { startChild } from '../support/child.ts'
import { openPostgres } from '../support/postgres.ts'
import { ask, program, root } from '../support/server.ts'

const linux = { skip: process.platform === 'linux' ? false : 'descriptors are looked at in /proc' }
const stopping = '{"status": "unhealthy","error": "server is shutting down"}'

/** Starts the program through bash, so that the variables can name its own process. It ends with the test. */
function launch(t: TestContext, script: string, settings: Record<string, string> = {}, descriptor?: number) {
  const env = {
    PATH: process.env['PATH'] ?? '',
    DATABASE_URL: 'postgres://x@127.0.0.1:1/x',
    HOST: '127.0.0.1',
    PORT: '0',
    DRAIN_MS: '0',
    ...settings,
  }
  const child = startChild('bash', ['-c', script, 'bash', process.execPath, ...program], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe', ...(descriptor === undefined ? [] : [descriptor])],
  })
  t.after(() => child.process.kill('SIGKILL') && child.ended)
  return {
    ...child,
    stop(signal: NodeJS.Signals = 'SIGTERM') {
      child.process.kill(signal)
      return child.ended
    },
  }
}

/**
 * systemd's part: a socket that it keeps, and on which it never accepts. Node's documented servers all accept, so this
 * uses an undocumented function.
 */
function openSocket(t: TestContext, path?: string) {
  const create = (net as unknown as { _createServerHandle: (...args: unknown[]) => Handle })
    ._createServerHandle
  const handle = path === undefined ? create('127.0.0.1', 0, 4) : create(path, -1, -1)
  t.after(() => handle.close())
  const name: { port?: number } = {}
  if (path === undefined) handle.getsockname(name)
  return { fd: handle.fd, port: name.port ?? 0 }
}

interface Handle {
  readonly fd: number
  getsockname(name: { port?: number }): void
  close(): void
}

function openFolder(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

const activated = 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=pg-health.socket exec "$@"'

describe('a socket passed by systemd', linux, () => {
  test('TCP: served and logged instead of PORT; clients between two runs wait for the next', async t => {
    const { fd, port } = openSocket(t)
    const first = launch(t, activated, { HOST: '::1', PORT: '1' }, fd)
    await first.said(/"event":"listening"/)
    assert.match(
      first.output(),
      new RegExp(`"message":"listening on http://127.0.0.1:${port}/health","url":"[^"]+","fd":3}`),
    )
    assert.equal((await ask(`http://127.0.0.1:${port}/livez`)).status, 200)
    assert.equal(await first.stop(), 0)
    const between = ask(`http://127.0.0.1:${port}/livez`)
    launch(t, activated, {}, fd)
    assert.equal((await between).status, 200)
  })

  test('Unix: served and logged; its path stays after the exit', async t => {
    const path = join(openFolder(t), 'socket')
    const { fd } = openSocket(t, path)
    const first = launch(t, activated, {}, fd)
    await first.said(/"message":"listening on a Unix socket, descriptor 3 of systemd","fd":3}/)
    assert.equal((await ask('http://x/livez', { socketPath: path })).status, 200)
    assert.equal(await first.stop(), 0)
    assert.ok(statSync(path).isSocket())
    const between = ask('http://x/livez', { socketPath: path })
    launch(t, activated, {}, fd)
    assert.equal((await between).status, 200)
  })

  test('SIGTERM: 503 on the passed socket while draining', async t => {
    const { fd, port } = openSocket(t)
    const server = launch(t, activated, { DRAIN_MS: '60000' }, fd)
    await server.said(/"event":"listening"/)
    server.stop()
    await server.said(/"event":"stopping"/)
    assert.equal((await ask(`http://127.0.0.1:${port}/health`)).body, stopping)
    await server.stop()
  })

  test('LISTEN_… variables of another process are ignored: it listens on PORT', async t => {
    const { fd, port } = openSocket(t)
    const server = launch(t, 'LISTEN_PID=$PPID LISTEN_FDS=1 exec "$@"', {}, fd)
    await server.said(/"event":"listening"/)
    assert.ok(!server.output().includes(`:${port}/`), server.output())
    assert.ok(!server.output().includes('descriptor'), server.output())
  })

  test('two sockets: one line, exit 78, and neither is served', async t => {
    const { fd } = openSocket(t)
    const server = launch(t, 'LISTEN_PID=$$ LISTEN_FDS=2 exec "$@" 4<&3', {}, fd)
    assert.equal(await server.ended, 78)
    assert.equal(
      server.output(),
      'pg-health: LISTEN_FDS must be 1: one socket is served, so the unit needs one ListenStream=\n',
    )
  })

  for (const [what, redirection, code] of [
    ['nothing at all', '3<&-', 'EINVAL'],
    ['/dev/null', '3</dev/null', 'EINVAL'],
    ['a file', '3<package.json', 'EINVAL'],
    ['a pipe', '3< <(sleep 1)', 'ENOTSOCK'],
    ['a datagram socket', '3<>/dev/udp/127.0.0.1/9', 'EINVAL'],
    ['a connection', '3<>/dev/tcp/127.0.0.1/PORT', 'EINVAL'],
  ] as const) {
    test(`${what} instead of the socket: one line that says what is wrong, exit 78`, async t => {
      const peer = net.createServer().listen(0, '127.0.0.1')
      await once(peer, 'listening')
      t.after(() => peer.close())
      const { port } = peer.address() as net.AddressInfo
      const server = launch(t, `${activated} ${redirection.replace('PORT', `${port}`)}`)
      assert.equal(await server.ended, 78)
      const [start = '', ...lines] = server.output().trim().split('\n')
      assert.match(start, /"event":"start"/)
      assert.equal(lines.length, 1, server.output())
      const { level, event, message } = JSON.parse(lines[0] ?? '')
      assert.deepEqual(
        { level, event, message },
        {
          level: 'error',
          event: 'listen_failed',
          message: `can't listen on descriptor 3 of systemd: ${code} (a unit needs ListenStream= and Accept=no)`,
        },
      )
    })
  }
})

describe('the journal', linux, () => {
  const journal = (descriptor: 1 | 2) =>
    `JOURNAL_STREAM=$(stat -Lc %d:%i /proc/$$/fd/${descriptor}) exec "$@"`

  for (const settings of [{}, { LOG_FORMAT: 'text' }] as Record<string, string>[]) {
    test(`text with the priorities that the journal reads, for ${JSON.stringify(settings)}`, async t => {
      const server = launch(t, journal(1), settings)
      await server.said(/unhealthy/)
      await server.stop('SIGINT')
      const lines = server.output().trim().split('\n')
      assert.match(lines[0] ?? '', /^<6>pg-health [\d.]+, database /)
      assert.match(lines[1] ?? '', /^<6>listening on http:/)
      assert.equal(lines[2], '<3>unhealthy: database unreachable (ECONNREFUSED) (first result)')
      assert.deepEqual(lines.slice(-1), ['<6>stopped'])
    })
  }

  test('JSON when LOG_FORMAT says so', async t => {
    const server = launch(t, journal(1), { LOG_FORMAT: 'json' })
    await server.said(/^\{.*"event":"listening"/m)
  })

  for (const [format, pattern] of [
    ['json', /^\{.*"event":"listening"/m],
    ['text', /^2\S+Z info {2}listening on/m],
  ] as const) {
    test(`${format} without priorities when the output is not the journal, despite JOURNAL_STREAM`, async t => {
      const settings: Record<string, string> = format === 'text' ? { LOG_FORMAT: format } : {}
      await launch(t, 'exec "$@"', { JOURNAL_STREAM: '8:1', ...settings }).said(pattern)
    })
  }

  test('each fault of the settings has the priority of an error', async t => {
    const server = launch(t, journal(2), { DRAIN_MS: 'x', PORT: 'x' })
    assert.equal(await server.ended, 78)
    assert.match(server.output(), /^<3>pg-health: PORT must be .+\n<3>pg-health: DRAIN_MS must be .+\n$/)
  })
})

describe('NOTIFY_SOCKET', linux, () => {
  /** A systemd-notify, first in PATH, that records what it is sent and what it inherits. */
  function openHelper(t: TestContext, script: string) {
    const folder = openFolder(t)
    const fifo = join(folder, 'fifo')
    execFileSync('mkfifo', [fifo])
    const helper = join(folder, 'systemd-notify')
    writeFileSync(helper, `#!/bin/bash\n${script.replaceAll('FIFO', fifo)}\n`)
    chmodSync(helper, 0o755)
    const told = new net.Socket({
      fd: openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK),
      readable: true,
      writable: false,
    })
    t.after(() => told.destroy())
    let text = ''
    told.setEncoding('utf8').on('data', chunk => {
      text += chunk
      told.emit('more')
    })
    const line = async (number: number): Promise<string> => {
      while (text.split('\n').length <= number + 1) await once(told, 'more')
      return text.split('\n')[number] ?? ''
    }
    return {
      settings: { PATH: `${folder}:${process.env['PATH']}`, NOTIFY_SOCKET: '@pg-health/notify' },
      line,
    }
  }

  test('READY when it listens, STATUS on a change of verdict, STOPPING first on a stop', async t => {
    const postgres = await openPostgres()
    t.after(() => postgres.close())
    const { settings, line } = openHelper(t, 'IFS="|"; echo "$*" >FIFO')
    const server = launch(t, 'exec "$@"', { ...settings, DATABASE_URL: postgres.url, DRAIN_MS: '60000' })
    const ready = /^READY=1\|STATUS=listening on (http:.+)\/health$/.exec(await line(0))
    assert.ok(ready, await line(0))
    const health = `${ready[1]}/health`
    assert.equal(await line(1), 'STATUS=healthy (first result)')
    for (let round = 0; round < 5; round += 1) assert.equal((await ask(health)).status, 200)
    await postgres.stop()
    for (let round = 0; round < 5; round += 1) assert.equal((await ask(health)).status, 503)
    assert.match(
      await line(2),
      /^STATUS=unhealthy: database unreachable \(ECONNREFUSED\), after [\d.]+ s healthy$/,
    )
    await postgres.start()
    assert.equal((await ask(health)).status, 200)
    assert.match(await line(3), /^STATUS=healthy, after [\d.]+ s unhealthy$/)
    server.stop()
    assert.equal(await line(4), 'STOPPING=1|STATUS=SIGTERM: unhealthy from now on, stop in 60000 ms')
    assert.equal(await server.stop(), 143)
  })

  test('the helper inherits no socket, setting or secret, only PATH and NOTIFY_SOCKET', async t => {
    const script = 'echo $(compgen -e) / $(for each in /proc/$$/fd/*; do readlink "$each"; done) >FIFO'
    const { settings, line } = openHelper(t, script)
    const { fd } = openSocket(t)
    launch(t, activated, settings, fd)
    const [names = '', descriptors = ''] = (await line(0)).split(' / ')
    // The shell sets these itself.
    assert.deepEqual(
      names.split(' ').filter(name => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name)),
      ['NOTIFY_SOCKET', 'PATH'],
    )
    assert.match(descriptors, /^\/dev\/null \/dev\/null \/dev\/null /)
    assert.doesNotMatch(descriptors, /socket:/)
  })

  for (const [what, path, script, code] of [
    ['is missing', '/nowhere', '', 'ENOENT'],
    ['fails', '', 'exit 1', 'EXIT_1'],
  ] as const) {
    test(`a helper that ${what} costs one warning: the server answers, and stops with exit 0`, async t => {
      const { settings } = openHelper(t, script)
      const PATH = path || settings.PATH
      const server = launch(t, `PATH=${PATH} exec "$@"`, { ...settings, PATH: process.env['PATH'] ?? '' })
      await server.said(/"event":"notify_failed"/)
      assert.match(server.output(), new RegExp(`can't notify systemd: systemd-notify, ${code}`))
      const url = /"url":"([^"]+)"/.exec(server.output())?.[1]
      assert.equal((await ask(`${url}`)).status, 503)
      assert.equal(await server.stop(), 0)
      assert.equal(server.output().split('notify_failed').length, 2, server.output())
    })
  }

  test('a helper that hangs delays neither answers nor the exit', async t => {
    const { settings, line } = openHelper(t, 'echo began >FIFO; exec sleep 60')
    const server = launch(t, 'exec "$@"', settings)
    await line(0)
    await server.said(/"event":"unhealthy"/)
    const url = /"url":"([^"]+)"/.exec(server.output())?.[1]
    assert.equal((await ask(`${url}`)).status, 503)
    assert.equal(await server.stop(), 0)
  })
})
