// Puts the parts of the server together, starts it, and handles its signals.
import { type Config, urlOf } from './config/config.ts'
import { codedError, codeOf, detailsOf } from './error.ts'
import { exitCodes } from './fault.ts'
import { createLife } from './health/phase.ts'
import { createHttp, type Http } from './http/server.ts'
import { createEndpoint } from './library/endpoint.ts'
import { createLog, type Log } from './monitor/log.ts'
import { createProcessSeries } from './monitor/process.ts'
import { createReport } from './monitor/report.ts'
import { createDatabase, type Database } from './postgres/database.ts'
import type { Host } from './system/host.ts'
import { createShutdown } from './system/shutdown.ts'
import { handleSignals } from './system/signal.ts'
import { createNotify, readSocket } from './system/systemd.ts'

/** Serves until the process is told to stop. Resolves when the port is open, or when the process is about to exit. */
export async function serve(config: Config, host: Host, version: string): Promise<void> {
  const { now, date } = host
  const socket = readSocket(host.env, host.process.pid)
  const log = openLog(config, host)
  const life = createLife()
  const readConninfo = () =>
    config.readConninfo(faults =>
      log('stale_secret', `the last good settings are used: ${faults.join('; ')}`),
    )
  const database = createDatabase({ ...config, readConninfo, phase: life.phase, now })
  const report = createReport({ log, now, slowMs: config.slowMs })
  const more = createProcessSeries({ host: host.process, date, now, folder: '/proc/self' })

  const endpoint = createEndpoint({
    source: database,
    roles: 'served',
    life,
    timeoutMs: config.timeoutMs,
    unhealthyStatus: config.unhealthyStatus,
    now,
    details: config.details === 'on' ? { version, date, more } : undefined,
    onVerdict: report.observe,
    onEnd: request => http.endRequest(request),
    onError: error =>
      log('request_failed', 'a request failed because of an internal error', detailsOf(error)),
  })
  const http = createHttp({
    createServer: host.loadModule('node:http').createServer,
    handler: endpoint.handler,
    maxConnections: host.maxConnections(),
    onRefused(status) {
      report.onRefused(status)
      endpoint.onRefused(status)
    },
    onAcceptError: error => log('accept_failed', "can't accept a connection", detailsOf(error)),
  })
  const shutdown = createShutdown({
    steps: {
      drain: endpoint.drain,
      closeServer(graceMs) {
        life.enter('closing')
        return http.close(graceMs)
      },
      closeDatabase: endpoint.close,
    },
    drainMs: config.drainMs,
    startedBy: host.startedBy,
    now,
    exit: host.process.exit,
    log,
  })
  handleSignals({ signals: host.process, stop: shutdown, exit: host.process.exit, log })
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
  endpoint.check(
    () => {},
    () => {},
  )
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
  const { spawn } = host.loadModule('node:child_process')
  const notify = createNotify({ env, spawn, log })
  return (...event) => {
    log(...event)
    notify(...event)
  }
}

/** The last line of defence: errors that no other code handles. */
function handleErrors(host: Host, database: Database, log: Log) {
  // No known error reaches this handler. tests/faults/lies.test.ts sends the ones that once did. It costs the session, not
  // the process.
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
    log('listen_failed', listenFault(code, place, socket !== undefined), { code, ...(socket ?? { port }) })
    // A restart may find the port free. It would get the same systemd socket again.
    host.process.exit(socket ? exitCodes.config : exitCodes.failure)
  }
}

/** The codes of a HOST that does not resolve, or is not an address of this machine. conda and tcsh set HOST, too. */
const hostCodes = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL', 'ENODEV'])

function listenFault(code: string | undefined, place: string, isSystemd: boolean): string {
  if (isSystemd) return `can't listen on ${place}: ${code} (a unit needs ListenStream= and Accept=no)`
  if (!hostCodes.has(code ?? '')) return `can't listen on ${place}: ${code}`
  return `can't listen: HOST must be an address of this machine, or a name for one (${code})`
}
