// Puts the parts of the server together, starts it, and handles its signals.
import { type Config, urlOf } from './config/config.ts'
import { codedError, codeOf, detailsOf } from './error.ts'
import { exitCodes } from './fault.ts'
import { createLife } from './health/phase.ts'
import { createProbe } from './health/probe.ts'
import { repliesOf } from './health/reply.ts'
import { shutdownVerdict, type Verdict } from './health/verdict.ts'
import { createConnections } from './http/connections.ts'
import { type Pages, pathsOf } from './http/route.ts'
import { createHttp, type Http } from './http/server.ts'
import { createHistory } from './monitor/history.ts'
import { createLog, type Log } from './monitor/log.ts'
import { createMetrics } from './monitor/metrics.ts'
import { createProcessSeries } from './monitor/process.ts'
import { createReport } from './monitor/report.ts'
import { pagesOf } from './page/page.ts'
import { createDatabase, type Database } from './postgres/database.ts'
import { scrubbed } from './scrub.ts'
import type { Host } from './system/host.ts'
import { createShutdown } from './system/shutdown.ts'
import { createNotify, readSocket } from './system/systemd.ts'

/** Serves until the process is told to stop. Resolves when the port is open, or with the process on its way to exit. */
export async function serve(config: Config, host: Host, version: string): Promise<void> {
  const { now } = host
  const socket = readSocket(host.env, host.process.pid)
  const log = openLog(config, host)
  const life = createLife()
  const { phase } = life
  const readConninfo = () =>
    config.readConninfo(faults =>
      log('stale_secret', `the last good settings are used: ${faults.join('; ')}`),
    )
  const database = createDatabase({ ...config, readConninfo, phase, now })
  const connections = createConnections(host.maxConnections())
  const monitors = createMonitors({ config, host, version, log, database, inFlight: connections.inFlight })

  /** A check that our own shutdown cut short says nothing about the database. */
  const observe = (verdict: Verdict) => {
    if (phase() === 'serving') monitors.observe(verdict)
    return verdict
  }
  const probe = createProbe({
    runCheck: async (...task) => observe(await database.check(...task)),
    timedOut: () => observe(database.timedOut()),
    timeoutMs: config.timeoutMs,
    phase,
    now,
  })
  const http = createHttp({
    check: probe.check,
    replies: repliesOf(config.unhealthyStatus),
    pages: monitors.pages,
    phase,
    now,
    connections,
    onAnswer: monitors.onAnswer,
    onError: error =>
      log('request_failed', 'a request failed because of an internal error', detailsOf(error)),
    onAcceptError: error => log('accept_failed', "can't accept a connection", detailsOf(error)),
  })
  const shutdown = createShutdown({
    steps: {
      drain() {
        life.enter('draining')
        probe.stop()
        monitors.showShutdown()
      },
      closeServer(graceMs) {
        life.enter('closing')
        return http.close(graceMs)
      },
      closeDatabase: database.close,
    },
    drainMs: config.drainMs,
    now,
    exit: host.process.exit,
    log,
  })
  host.process.on('SIGTERM', shutdown)
  host.process.on('SIGINT', shutdown)
  handleErrors(host, database, log)

  log('start', `pg-health ${version}, database ${config.maskedUrl}`, {
    version,
    database: config.maskedUrl,
  })
  if (config.leftOut.length > 0) {
    log('parameters_left_out', `left out of the database settings: ${config.leftOut.join(', ')}`)
  }
  await listen(http, config, socket, host, log)
  // Opens the session. Its verdict is the first result in the log.
  probe.check(
    () => {},
    () => {},
  )
}

interface MonitorsOptions {
  readonly config: Config
  readonly host: Host
  readonly version: string
  readonly log: Log
  readonly database: Database
  readonly inFlight: () => number
}

/** Everything that gets each verdict and each refused request, and the pages that show what it was. */
function createMonitors({ config, host, version, log, database, inFlight }: MonitorsOptions) {
  const { now, date } = host
  const report = createReport({ log, now, slowMs: config.slowMs, serverMessageOf })
  const history = createHistory({ now, date })
  const shown = config.details === 'on'
  const people = pagesOf({ ...history, version, unhealthyStatus: config.unhealthyStatus })
  const metrics = createMetrics({
    version,
    paths: pathsOf(shown ? [...people.map(([path]) => path), '/metrics'] : []),
    unhealthyStatus: config.unhealthyStatus,
    date,
    inFlight,
    connectionsOpened: database.connectionsOpened,
    more: createProcessSeries({ host: host.process, date, now, folder: '/proc/self' }),
  })
  const pages: Pages = new Map(shown ? [...people, ['/metrics', metrics.render]] : [])
  const showShutdown = () => history.observe(shutdownVerdict)
  return { observe, showShutdown, pages, onAnswer: metrics.onAnswer, onRefused }

  function observe(verdict: Verdict) {
    report.observe(verdict)
    metrics.observe(verdict)
    history.observe(verdict)
  }

  function onRefused(status: number) {
    report.onRefused(status)
    metrics.onRefused(status)
  }
}

/** The log on standard output. If systemd waits for notifications, it gets the events that concern it. */
function openLog({ logFormat, logLevel }: Config, host: Host): Log {
  const { env, output, date, writeLog } = host
  const wanted = logFormat ?? (output === 'other' ? 'json' : 'text')
  // The journal keeps time and level of each line itself.
  const format = output === 'journal' && wanted === 'text' ? 'journal' : wanted
  const log = createLog({ format, level: logLevel, date, write: writeLog })
  if (!env['NOTIFY_SOCKET']) return log
  // Loaded only here: it costs every start 4 ms.
  const { spawn } = host.process.getBuiltinModule('node:child_process')
  const notify = createNotify({ env, spawn, log })
  return (...event) => {
    log(...event)
    notify(...event)
  }
}

/** What a server or pooler said, fit for the log: no name, no address, no literal. */
function serverMessageOf(error: unknown): string | undefined {
  return error instanceof Error ? scrubbed(error.message) : undefined
}

/** The last line of defence: errors that no other code handles. */
function handleErrors(host: Host, database: Database, log: Log) {
  // Malformed authentication messages escape the driver's promises. Only the session is lost.
  host.process.on('unhandledRejection', reason => {
    log('unhandled_rejection', 'internal error, the session with the database is dropped', detailsOf(reason))
    database.reset(codedError('CONNECTION_DESTROYED'))
  })
  host.process.on('uncaughtException', error => {
    log('uncaught_exception', 'internal error, exit 70', detailsOf(error))
    host.process.exit(exitCodes.internal)
  })
}

/** Opens the port, or takes the socket that systemd holds. Ends the process if that fails. */
async function listen(
  http: Http,
  { host: name, port }: Config,
  socket: ReturnType<typeof readSocket>,
  host: Host,
  log: Log,
) {
  const place = socket ? `descriptor ${socket.fd} of systemd` : `port ${port}`
  try {
    const bound = await http.listen(socket ?? (name === undefined ? { port } : { host: name, port }))
    const shown = (socket ? bound?.address : name) ?? '::'
    const url = bound && urlOf(shown === '::' ? 'localhost' : shown, bound.port)
    log('listening', `listening on ${url ?? `a Unix socket, ${place}`}`, { url, ...socket })
  } catch (error) {
    const code = codeOf(error)
    // A port may become free; the socket of a unit stays as it is.
    const hint = socket ? ' (a unit needs ListenStream= and Accept=no)' : ''
    log('listen_failed', `can't listen on ${place}: ${code}${hint}`, {
      code,
      ...(socket ?? { port }),
    })
    host.process.exit(socket ? exitCodes.config : exitCodes.failure)
  }
}
