// Builds the server and its peers, starts them by plain node, and reads from /proc what they cost.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ask } from '../tests/support/server.ts'

/** What the bench can't do here, as a sentence for whoever runs it. */
export class BenchError extends Error {}

export const root = fileURLToPath(new URL('..', import.meta.url))

/**
 * V8 gives memory back once it believes that little is allocated, at the latest 100 s after its last collection (seen with
 * --trace-gc-verbose).
 */
export const settleMs = 120_000

export interface Build {
  /** Holds `dist` with server.js, library.js and bench/peers/*.js. */
  readonly folder: string
  close(): void
}

/** Builds the server and the library, as for shipping, and the peers: no process that is measured pays for tsx. */
export async function openBuild(): Promise<Build> {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-bench-'))
  for (const name of ['node_modules', 'package.json']) symlinkSync(join(root, name), join(folder, name))
  const close = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', close)
  const dist = join(folder, 'dist')
  const peers = readdirSync(join(root, 'bench/peers')).map(name => `bench/peers/${name}`)
  const options = ['--format=esm', `--outdir=${join(dist, 'bench/peers')}`, '--log-level=warning']
  await promisify(execFile)('npm', ['run', 'build', '--', 'library.ts', `--outdir=${dist}`], { cwd: root })
  await promisify(execFile)(join(root, 'node_modules/.bin/esbuild'), [...peers, ...options], { cwd: root })
  return { folder, close }
}

export interface Program {
  readonly child: ChildProcess
  readonly url: string
  /** From the spawn to the first answer with status 200, milliseconds. */
  readonly startMs: number
  /** Processor time since its start, microseconds; the system counts in steps of 10,000. */
  cpuMicros(): number
  /** Resident memory, MB of 2^20 bytes. */
  rssMb(): number
  stop(): Promise<void>
}

/** Starts `command` (a node and its arguments) on a free port; resolves with its first healthy answer. */
export async function startProgram(
  command: readonly string[],
  settings: Record<string, string>,
): Promise<Program> {
  const port = await findPort()
  const url = `http://127.0.0.1:${port}/health`
  const [file = process.execPath, ...args] = command
  const env = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', DRAIN_MS: '0' }
  const spawnedAt = performance.now()
  const child = spawn(file, args, {
    cwd: root,
    env: { ...env, ...settings, HOST: '127.0.0.1', PORT: String(port) },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr?.on('data', chunk => {
    complaint += chunk
  })
  const exited = once(child, 'exit')
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const startMs = await untilHealthy()
  const { pid } = child
  return { child, url, startMs, cpuMicros, rssMb, stop }

  async function untilHealthy() {
    while (child.exitCode === null && performance.now() - spawnedAt < 30_000) {
      const status = await ask(url).then(
        answer => answer.status,
        () => 0,
      )
      if (status === 200) return performance.now() - spawnedAt
      await sleep(2)
    }
    child.kill('SIGKILL')
    throw new BenchError(`no healthy answer from ${command.join(' ')}: ${complaint}`)
  }

  function cpuMicros() {
    // The name in brackets may hold anything; what follows is fields 3 and on.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10_000
  }

  function rssMb() {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
  }

  async function stop() {
    child.kill('SIGTERM')
    await exited
    process.off('exit', kill)
  }
}

/** Runs `command` to its end; resolves with what it wrote. */
export async function runProgram(command: readonly string[], settings: Record<string, string>) {
  const [file = process.execPath, ...args] = command
  const env = { PATH: process.env['PATH'] ?? '', ...settings }
  return (await promisify(execFile)(file, args, { cwd: root, env })).stdout
}

async function findPort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  listener.close()
  await once(listener, 'close')
  return typeof address === 'object' && address ? address.port : 0
}
