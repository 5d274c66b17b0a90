// Opens the one socket of a session: name lookup, TCP or Unix socket, and TLS as PostgreSQL negotiates it.

import net from 'node:net'
import tls from 'node:tls'
import { type CertifiedConninfo, type Host, socketPathOf } from '../conninfo/conninfo.ts'
import { codedError } from '../error.ts'
import { atDeadline, type Now } from '../health/deadline.ts'
import { reasonOf, TlsFailure } from './reason.ts'

/** A socket that is being opened. */
export interface Connecting {
  /** Resolves with a socket that is ready for PostgreSQL's start-up message; rejects with the system's error. */
  readonly connected: Promise<net.Socket>
  /** Closes the socket at any stage. What waits for the socket is told `error`. May be called twice. */
  destroy(error: Error): void
}

/** How to connect. */
export interface ConnectOptions {
  readonly lookup: net.LookupFunction
  /** How long one of several addresses may take before the next is tried, in ms. Node's default, 250 ms, is too short for a distant server. */
  readonly addressTimeoutMs: number
  /** What to do when no address answers: `retry` until `destroy` is called, or `fail` because other hosts are waiting. */
  readonly whenSilent: 'retry' | 'fail'
  readonly now: Now
}

/** Extra time, so Node tries the next address before we start over. */
const retryDelayMs = 100

/**
 * Starts to connect to `host`, with or without TLS as `conninfo.tls` says. `allow` means plain text here: fallback.ts
 * tries again with TLS. Never throws: failures reject `connected`.
 */
export function connect(host: Host, conninfo: CertifiedConninfo, options: ConnectOptions): Connecting {
  const attemptTimedOut = codedError('ETIMEDOUT')
  const { mode, negotiation } = conninfo.tls
  const { addressTimeoutMs, now } = options
  let raw = connectAttempt(host, options)
  let socket: net.Socket = raw
  let destroyed = false

  return { connected: open(), destroy }

  async function open(): Promise<net.Socket> {
    await connectWithRetry()
    // libpq ignores sslmode on Unix sockets, too.
    if (isUnixSocket(host) || mode === 'disable' || mode === 'allow') return raw
    if (negotiation === 'postgres' && !(await requestTls(raw, mode === 'prefer'))) return raw
    const secured = startTls(raw, host, conninfo)
    socket = secured
    await eventOf(secured, 'secureConnect').catch(error => {
      // Anything without a reason is a TLS failure. A lost or aborted connection keeps its own reason.
      throw reasonOf(error) === 'unknown' ? new TlsFailure(error) : error
    })
    if (negotiation === 'direct' && secured.alpnProtocol !== alpnProtocol) {
      throw new TlsFailure(codedError('ALPN_NOT_NEGOTIATED'))
    }
    return secured
  }

  /**
   * Repeats the attempt until one succeeds, or `destroy` is called. The system itself repeats a lost SYN only after
   * 1, 2 and 4 s (Linux before 6.5). The first check after a network failure would wait for that and time out.
   */
  async function connectWithRetry() {
    for (;;) {
      const clearLimit = limitAttempt(raw)
      try {
        await eventOf(raw, 'connect')
        return
      } catch (error) {
        if (error !== attemptTimedOut || destroyed || options.whenSilent === 'fail') throw error
        raw = connectAttempt(host, options)
        socket = raw
      } finally {
        clearLimit()
      }
    }
  }

  /** Ends an attempt when all its addresses had their time. The lookup has no limit: repeating it would not be quicker. */
  function limitAttempt(attempt: net.Socket): () => void {
    let cancel = () => {}
    attempt.on('connectionAttempt', () => {
      cancel()
      const until = now() + addressTimeoutMs + retryDelayMs
      cancel = atDeadline(until, now, () => attempt.destroy(attemptTimedOut))
    })
    return () => cancel()
  }

  function destroy(error: Error) {
    destroyed = true
    socket.destroy(error)
    raw.destroy(error)
  }
}

/** Whether `host` is a Unix socket. */
export function isUnixSocket(host: Host): boolean {
  return socketPathOf(host) !== undefined
}

/** Starts one attempt: at a Unix socket, or at each address of a name in turn. */
function connectAttempt(host: Host, { lookup, addressTimeoutMs }: ConnectOptions): net.Socket {
  const path = socketPathOf(host)
  const socket =
    path !== undefined
      ? net.connect({ path })
      : net.connect({
          host: host.address ?? host.host,
          port: host.port,
          lookup,
          autoSelectFamily: true,
          autoSelectFamilyAttemptTimeout: addressTimeoutMs,
          noDelay: true,
          // Detects a peer that disappeared while the session was idle.
          keepAlive: true,
          keepAliveInitialDelay: 15_000,
        })
  return socket.on('error', ignore)
}

/** PostgreSQL's SSLRequest: length 8, code 80877103. */
const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/**
 * Asks the server for TLS. False if the server has no TLS and `optional` allows plain text. Throws TlsFailure if the
 * server has no TLS and we need it.
 */
async function requestTls(raw: net.Socket, optional: boolean): Promise<boolean> {
  raw.write(sslRequest)
  const answer = String(await eventOf(raw, 'data'))
  if (answer === 'S') return true
  if (answer === 'N' && optional) return false
  if (answer === 'N') throw new TlsFailure(codedError('TLS_NOT_OFFERED'))
  // More than one byte: an attacker who sends plain text before TLS begins (CVE-2021-23222), or not PostgreSQL.
  throw codedError('08P01')
}

/** Direct TLS must negotiate this protocol (ALPN): it shows that the server expects PostgreSQL. */
const alpnProtocol = 'postgresql'

/** Starts the handshake. Throws TlsFailure when certificate, key or its password can't be used. */
function startTls(raw: net.Socket, { host }: Host, conninfo: CertifiedConninfo): tls.TLSSocket {
  const { mode, negotiation, keyPassword, minVersion, maxVersion } = conninfo.tls
  const { rootCert, cert, key, crl } = conninfo
  try {
    const socket = tls.connect({
      socket: raw,
      // The certificate must be for this name or address.
      host,
      ...(isServerName(host) ? { servername: host } : {}),
      ...(negotiation === 'direct' ? { ALPNProtocols: [alpnProtocol] } : {}),
      ...(rootCert === undefined ? {} : { ca: rootCert }),
      ...(crl === undefined ? {} : { crl }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key, passphrase: keyPassword }),
      ...(minVersion === undefined ? {} : { minVersion }),
      ...(maxVersion === undefined ? {} : { maxVersion }),
      rejectUnauthorized: mode === 'verify-ca' || mode === 'verify-full',
      ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
    })
    // With TLS 1.3 a server refuses our certificate after the handshake. Node 20 then emits the error, but does not keep
    // it in `errored`, where the session looks for the cause.
    return socket.on('error', error => socket.destroy(error))
  } catch (error) {
    throw new TlsFailure(error)
  }
}

/**
 * Whether libpq would send `host` as the server name (SNI). It sends no address, and nothing that the resolver reads as
 * an address (`127.1`).
 */
function isServerName(host: string): boolean {
  return !/^[\d.]*$/.test(host) && !host.includes(':')
}

/** Resolves with the event's argument. Rejects when the socket fails or closes first. */
function eventOf(socket: net.Socket, name: 'connect' | 'data' | 'secureConnect'): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const close = () => reject(codedError('CONNECTION_CLOSED'))
    socket.once('error', reject).once('close', close)
    socket.once(name, argument => {
      socket.off('error', reject).off('close', close)
      resolve(argument)
    })
  })
}

/** The driver removes its listeners when a socket closes. An error after that must not end the process. */
function ignore() {}
