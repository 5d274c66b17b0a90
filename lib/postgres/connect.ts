// Makes the one socket of a session: name, address, TCP or Unix socket, and TLS in PostgreSQL's manner.

import { lookup as resolve } from 'node:dns'
import net from 'node:net'
import tls from 'node:tls'
import { codedError } from '../error.ts'
import { type Conninfo, socketPathOf } from './conninfo.ts'
import { reasonOf, TlsFailure } from './reason.ts'

/** A socket on its way: `destroy` ends it whatever stage it has reached. */
export interface Connecting {
  /** Resolves with a socket that PostgreSQL's start-up message can go to; rejects with the system's error. */
  readonly connected: Promise<net.Socket>
  /** Ends the socket, whatever it has become; the error reaches whoever waits on it. Safe to call twice. */
  destroy(error: Error): void
}

export interface ConnectOptions {
  readonly lookup: net.LookupFunction
  /** What one of several addresses may take before the next is tried (Node's own 250 ms are too short abroad). */
  readonly addressTimeoutMs: number
  /** PEM, when the target names a root certificate. */
  readonly rootCert: string | undefined
}

/** After the time for an address, so that the next address goes before another call (milliseconds). */
const redialAfterMs = 100

/** Begins to connect to `target`. Nothing is thrown: failures come through `connected`. */
export function connect(target: Conninfo, options: ConnectOptions): Connecting {
  const [place] = target.hosts
  const path = socketPathOf(place)
  const { mode } = target.tls
  const unanswered = codedError('ETIMEDOUT')
  let raw = call()
  let socket: net.Socket = raw
  let destroyed = false

  return { connected: establish(), destroy }

  function call(): net.Socket {
    const called = path
      ? net.connect({ path })
      : net.connect({
          host: place.address ?? place.host,
          port: place.port,
          lookup: options.lookup,
          autoSelectFamily: true,
          autoSelectFamilyAttemptTimeout: options.addressTimeoutMs,
          noDelay: true,
          // Only for a peer that vanished while the session was idle.
          keepAlive: true,
          keepAliveInitialDelay: 15_000,
        })
    return called.on('error', ignore)
  }

  /**
   * Calls until somebody answers, or `destroy`. The system sends a lost SYN again after 1, 2, 4 s (Linux before
   * 6.5): the first check after the network is back would wait for that in vain.
   */
  async function answered(): Promise<net.Socket> {
    for (;;) {
      const unlimited = limit(raw)
      try {
        await event(raw, 'connect')
        return raw
      } catch (error) {
        if (error !== unanswered || destroyed) throw error
        raw = call()
        socket = raw
      } finally {
        unlimited()
      }
    }
  }

  /** Gives each address its time, and a little more; not the lookup, which would not be quicker. */
  function limit(called: net.Socket): () => void {
    let timer: NodeJS.Timeout | undefined
    called.on('connectionAttempt', () => {
      clearTimeout(timer)
      timer = setTimeout(() => called.destroy(unanswered), options.addressTimeoutMs + redialAfterMs)
    })
    return () => clearTimeout(timer)
  }

  async function establish(): Promise<net.Socket> {
    await answered()
    // libpq, too, ignores sslmode on Unix sockets.
    if (path || mode === 'disable' || mode === 'allow') return raw
    if (!(await offersTls(raw, mode === 'prefer'))) return raw
    socket = tls.connect({ socket: raw, ...trustOf(target, options.rootCert) })
    socket.on('error', ignore)
    await event(socket, 'secureConnect').catch(error => {
      // A lost connection, or our own giving up, is no fault of certificates: those have no other name.
      throw reasonOf(error) === 'unknown' ? new TlsFailure(error) : error
    })
    return socket
  }

  function destroy(error: Error) {
    destroyed = true
    socket.destroy(error)
    raw.destroy(error)
  }
}

/** PostgreSQL's SSLRequest: length 8, code 80877103. */
const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/** Asks whether TLS may begin. False only when the server declines and `optional` allows plain text. */
async function offersTls(raw: net.Socket, optional: boolean): Promise<boolean> {
  raw.write(sslRequest)
  const answer = String(await event(raw, 'data'))
  if (answer === 'S') return true
  if (answer === 'N' && optional) return false
  if (answer === 'N') throw new TlsFailure(codedError('TLS_NOT_OFFERED'))
  // More than one byte is somebody in the middle, speaking before TLS does (CVE-2021-23222), or no PostgreSQL.
  throw codedError('08P01')
}

/** What of the server's certificate must be right, as libpq has it. */
function trustOf({ hosts: [{ host }], tls: { mode } }: Conninfo, rootCert: string | undefined) {
  return {
    // `host` is what the certificate is compared with; an address must not go out as a server name.
    host,
    ...(net.isIP(host) ? {} : { servername: host }),
    ...(rootCert === undefined ? {} : { ca: rootCert }),
    rejectUnauthorized: mode === 'verify-ca' || mode === 'verify-full',
    ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  }
}

/**
 * A name resolver with one getaddrinfo outstanding: a silent resolver would otherwise fill libuv's threads, one
 * a connection attempt, and lookups can't be called back. Whoever asks meanwhile shares the answer.
 */
export function createLookup(): net.LookupFunction {
  const outstanding = new Map<string, Promise<LookupResult>>()
  return (hostname, _options, callback) => {
    const shared = outstanding.get(hostname) ?? look(hostname)
    shared.then(({ error, addresses }) => callback(error, addresses))
  }

  function look(hostname: string): Promise<LookupResult> {
    const looking = new Promise<LookupResult>(done => {
      resolve(hostname, { all: true }, (error, addresses) => {
        outstanding.delete(hostname)
        done({ error, addresses })
      })
    })
    outstanding.set(hostname, looking)
    return looking
  }
}

interface LookupResult {
  readonly error: NodeJS.ErrnoException | null
  readonly addresses: { address: string; family: number }[]
}

/** Resolves with the event's argument; rejects when the socket fails, or closes, first. */
function event(socket: net.Socket, name: 'connect' | 'data' | 'secureConnect'): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const close = () => reject(codedError('CONNECTION_CLOSED'))
    socket.once('error', reject).once('close', close)
    socket.once(name, argument => {
      socket.off('error', reject).off('close', close)
      resolve(argument)
    })
  })
}

/** The driver removes its listeners when a socket closes; an error after that must not kill the process. */
function ignore() {}
