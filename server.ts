#!/usr/bin/env node
import { fstatSync, readFileSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { pluginFault } from './lib/client/nagios.ts'
import { type Command, readCommand, usage } from './lib/config/command.ts'
import {
  type Config,
  describeConfig,
  ownUrlOf,
  readClientConfig,
  readConfig,
  urlOf,
} from './lib/config/config.ts'
import { settingsHelp } from './lib/config/settings.ts'
// Puts the parts together; the only file that touches `process`.
import { ConfigError, codedError, codeOf, detailsOf, UsageError } from './lib/error.ts'
import { createProbe } from './lib/health/probe.ts'
import { repliesOf } from './lib/health/reply.ts'
import type { Verdict } from './lib/health/verdict.ts'
import { type Pages, pathsOf } from './lib/http/route.ts'
import { createHttp, type Http } from './lib/http/server.ts'
import { createHistory } from './lib/monitor/history.ts'
import { createLog, type Log } from './lib/monitor/log.ts'
import { createMetrics } from './lib/monitor/metrics.ts'
import { createProcessSeries } from './lib/monitor/process.ts'
import { createReport } from './lib/monitor/report.ts'
import { pagesOf } from './lib/page/page.ts'
import { createDatabase } from './lib/postgres/database.ts'

import { createShutdown } from './lib/system/shutdown.ts'
import { createNotify, isJournal, readSocket } from './lib/system/systemd.ts'

/** sysexits.h, where it has a word for it. */
const exitCodes = { ok: 0, failure: 1, usage: 64, internal: 70, config: 78 } as const

const now = () => performance.now()
const date = () => new Date()
const environment = { ...process.env }
// The driver reads PG… variables by itself, even for options it was given (PGTARGETSESSIONATTRS); the others are
// systemd's word to this process, and to none that it may start.
for (const name of Object.keys(process.env)) if (/^(PG|LISTEN_|NOTIFY_)/.test(name)) delete process.env[name]
// A name server that was silent is asked again by glibc after 5 s, and a lookup can't be called back: the first
// check after the server has come back would wait in vain. What resolv.conf says of the rest stays.
process.env['RES_OPTIONS'] ??= 'timeout:1 attempts:5'
// Whoever reads our output may go away; that is no reason to stop answering.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

try {
  await run(process.argv.slice(2))
} catch (error) {
  // A plugin has no other codes, and is read on standard output.
  const fault = error instanceof UsageError || error instanceof ConfigError ? error.message : undefined
  if (fault !== undefined && process.argv.includes('--nagios')) {
    const { line, exitCode } = pluginFault(fault)
    print(`${line}\n`)
    process.exitCode = exitCode
  } else if (error instanceof UsageError) end(exitCodes.usage, [error.message, 'Try --help.'])
  else if (error instanceof ConfigError) end(exitCodes.config, error.faults)
  else throw error
}

async function run(args: readonly string[]) {
  const command = readCommand(args)
  if (command.name === 'help') print(`${usage}\n${settingsHelp()}`)
  else if (command.name === 'version') print(`pg-health ${version()}\n`)
  else if (command.name === 'check') await check(command)
  else if (command.name === 'check-config') print(describeConfig(config()))
  else await serve(config(), readSocket(environment, process.pid))
}

async function serve(config: Config, socket: Socket) {
  const log = await openLog(config)
  const report = createReport({ log, now, slowMs: config.slowMs })
  const history = createHistory({ now, date })
  const readConninfo = () =>
    config.readConninfo(faults =>
      log('warn', 'settings_stale', `the last good settings are used: ${faults.join('; ')}`),
    )
  const database = createDatabase({ ...config, readConninfo, now })
  const details = [
    ...pagesOf({ ...history, version: version() }),
    ['/metrics', () => metrics.render()],
  ] as const
  const pages: Pages = new Map(config.details === 'off' ? [] : details)
  const metrics = createMetrics({
    version: version(),
    paths: pathsOf(pages),
    unhealthyStatus: config.unhealthyStatus,
    date,
    inFlight: () => http.inFlight(),
    connectionsOpened: database.connectionsOpened,
    more: createProcessSeries({ host: process, date, now, folder: '/proc/self' }),
  })
  let stopping = false
  /** Everyone who wants to know what the checks found; one that our own stop cut short says nothing of the database. */
  const observe = (verdict: Verdict) => {
    if (stopping) return verdict
    report(verdict)
    metrics.observe(verdict)
    history.observe(verdict)
    return verdict
  }
  const probe = createProbe<Verdict>({
    ask: async until => observe(await database.ask(until)),
    expired: () => observe({ result: database.expiry() }),
    now,
    timeoutMs: config.timeoutMs,
  })
  const http = createHttp({
    check: probe.check,
    replies: repliesOf(config.unhealthyStatus),
    pages,
    now,
    maxConnections: maxConnections(),
    onAnswer: metrics.onAnswer,
    onError: error => log('error', 'request_failed', 'a request failed inside', detailsOf(error)),
    onAcceptError: error => log('error', 'accept_failed', "can't accept a connection", detailsOf(error)),
  })
  const stop = createShutdown({
    steps: {
      refuse() {
        stopping = true
        http.refuse()
        probe.stop({ result: 'stopping' })
      },
      closeServer: http.close,
      closeDatabase: database.close,
    },
    drainMs: config.drainMs,
    now,
    exit: process.exit,
    log,
  })
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  // Malformed authentication messages escape the driver's own promises: only the session is lost.
  process.on('unhandledRejection', reason => {
    log('error', 'unhandled_rejection', 'the session with the database is thrown away', detailsOf(reason))
    database.reset(codedError('CONNECTION_DESTROYED'))
  })
  process.on('uncaughtException', error => {
    log('error', 'uncaught_exception', 'internal error, exit 70', detailsOf(error))
    process.exit(exitCodes.internal)
  })

  log('info', 'start', `pg-health ${version()}, database ${config.maskedUrl}`, {
    version: version(),
    database: config.maskedUrl,
  })
  if (config.leftOut.length > 0) {
    log('warn', 'parameters_left_out', `left out of the database URL: ${config.leftOut.join(', ')}`)
  }
  await listen(http, config, socket, log)
  // Warms the session, and its verdict is the first result in the log.
  probe.check(
    () => {},
    () => {},
  )
}

/** What systemd listens on for us, if it does. */
type Socket = ReturnType<typeof readSocket>

async function listen(http: Http, { host, port }: Config, socket: Socket, log: Log) {
  const place = socket ? `descriptor ${socket.fd} of systemd` : `port ${port}`
  try {
    const bound = await http.listen(socket ?? (host === undefined ? { port } : { host, port }))
    const name = (socket ? bound?.address : host) ?? '::'
    const url = bound && urlOf(name === '::' ? 'localhost' : name, bound.port)
    log('info', 'listening', `listening on ${url ?? `a Unix socket, ${place}`}`, { url, ...socket })
  } catch (error) {
    const code = codeOf(error)
    // A port may become free; what a socket unit hands over stays what it is.
    const hint = socket ? ' (a unit needs ListenStream= and Accept=no)' : ''
    log('error', 'listen_failed', `can't listen on ${place}: ${code}${hint}`, {
      code,
      ...(socket ?? { port }),
    })
    process.exit(socket ? exitCodes.config : exitCodes.failure)
  }
}

async function check({ url, timeoutMs, ...how }: Extract<Command, { name: 'check' }>) {
  const client = readClientConfig(environment)
  const { runCheck } = await import('./lib/client/check.ts')
  process.exitCode = await runCheck({
    ...how,
    url: url ?? ownUrlOf(client),
    // Longer than the server's own deadline, so that its answer, and not our impatience, is what one reads.
    timeoutMs: timeoutMs ?? Math.max(5_000, client.timeoutMs + 1_000),
    slowMs: client.slowMs,
    now,
    write: print,
    // A terminal that does not know its width says 0.
    columns: process.stdout.isTTY ? process.stdout.columns || 80 : undefined,
  })
}

function config(): Config {
  return readConfig(environment, readTextFile, osUser())
}

/** A FIFO or a device could keep the whole program waiting, or never end. */
function readTextFile(path: string) {
  const status = statSync(path)
  if (!status.isFile()) throw codedError('NOT_A_FILE')
  return { text: readFileSync(path, 'utf8'), mode: status.mode & 0o777, ownerId: status.uid }
}

/** libpq's default for the role; a container may run under a number that has no name. */
function osUser(): string {
  try {
    return userInfo().username
  } catch {
    return environment['USER'] ?? ''
  }
}

/** The same file says it in a checkout (beside server.ts) and in the package (above dist/server.js). */
function version(): string {
  const path = import.meta.url.endsWith('.ts') ? './package.json' : '../package.json'
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version
}

/**
 * Below the limit of descriptors, so that the database always gets one. Node raises its own limit to the
 * hard one at start; where /proc does not tell, 8,000 are below what systems give.
 */
function maxConnections(): number {
  try {
    const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    const descriptors = Number(limit ?? 16_000)
    return Math.min(8_000, descriptors - Math.min(64, Math.floor(descriptors / 2)))
  } catch {
    return 8_000
  }
}

/** The log on stdout, which systemd reads along when it wants to be told how the service does. */
async function openLog({ logFormat, logLevel }: Config): Promise<Log> {
  const plain = isJournal(environment, fstatSync(1)) ? 'journal' : process.stdout.isTTY ? 'text' : 'json'
  const format = plain === 'journal' && logFormat === 'text' ? plain : (logFormat ?? plain)
  const log = createLog({ format, level: logLevel, date, write })
  if (!environment['NOTIFY_SOCKET']) return log
  const { spawn } = await import('node:child_process')
  const notify = createNotify({ env: environment, spawn, log })
  return (...event) => {
    log(...event)
    notify(...event)
  }
}

/** A reader that stalls does not block Node on a pipe: lines pile up in memory instead (measured). */
function write(line: string): boolean {
  if (process.stdout.writableLength > 64 * 1024) return false
  process.stdout.write(line)
  return true
}

function print(text: string) {
  process.stdout.write(text)
}

function end(code: number, lines: readonly string[]) {
  const priority = isJournal(environment, fstatSync(2)) ? '<3>' : ''
  for (const line of lines) process.stderr.write(`${priority}pg-health: ${line}\n`)
  process.exitCode = code
}
