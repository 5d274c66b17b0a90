// Opens a session with one of several hosts: with the first that accepts the login and has a wanted role.

import type { CertifiedConninfo, Host } from '../conninfo/conninfo.ts'
import type { Role } from '../health/verdict.ts'
import type { ConnectOptions } from './connect.ts'
import { withDeadline } from './expiry.ts'
import { openWithFallback } from './fallback.ts'
import { createMemory, type Memory } from './memory.ts'
import { reasonOf, WrongRole } from './reason.ts'
import { wantedRoles } from './role.ts'
import { isStatementError, type Opening, retire, type Session, terminateMs } from './session.ts'

/** How to connect to each host. */
export type HostsOptions = Omit<ConnectOptions, 'whenSilent'>

export interface Hosts {
  /**
   * Starts to open a session with the first host that accepts the login and has a wanted role. There is one connection
   * at a time. Never throws: failures reject `session`.
   *
   * @param until when the time of the last host ends, milliseconds on the clock of `now`. Each host gets an equal share of
   * what the hosts before it have left.
   */
  open(conninfo: CertifiedConninfo, startedAt: number, until: number): Opening
}

/** Makes the hosts. Nothing is known about any of them, so the first order is that of the settings. */
export function createHosts(options: HostsOptions): Hosts {
  const memory = createMemory(options.now)
  return {
    open(conninfo, startedAt, until) {
      const isPlain = conninfo.hosts.length === 1 && wantedRoles(conninfo.targetSessionAttrs) === undefined
      if (isPlain) return openWithFallback(conninfo, { ...options, whenSilent: 'retry' }, startedAt)
      return openOnHosts({ ...options, conninfo, startedAt, until, memory })
    },
  }
}

interface Search extends HostsOptions {
  readonly conninfo: CertifiedConninfo
  readonly startedAt: number
  readonly until: number
  readonly memory: Memory
}

/** Tries the hosts in turn, and keeps the first that fits. */
function openOnHosts({ conninfo, startedAt, until, memory, ...options }: Search): Opening {
  const { hosts, targetSessionAttrs: attrs } = conninfo
  const { now } = options
  let current: Opening | undefined
  let destroyed: Error | undefined
  return { session: findHost(), destroy }

  async function findHost(): Promise<Session> {
    const failures = new Map<Host, unknown>()
    const rounds = attrs === 'prefer-standby' ? [wantedRoles('standby'), undefined] : [wantedRoles(attrs)]
    let candidates = memory.sorted(hosts)
    for (const [round, roles] of rounds.entries()) {
      const later = round + 1 < rounds.length ? candidates.length : 0
      for (const [place, candidate] of candidates.entries()) {
        try {
          return await tryHost(candidate, roles, candidates.length - place + later)
        } catch (error) {
          if (destroyed) throw destroyed
          if (isFinal(error)) throw error
          failures.set(candidate, error)
        }
      }
      // With prefer-standby, any host that answers will do if none is a standby.
      candidates = candidates.filter(each => failures.get(each) instanceof WrongRole)
    }
    throw failureOf(hosts, failures)
  }

  /** Opens a session, or rejects with what is wrong. `left`: number of tries that remain, this one included. */
  async function tryHost(host: Host, roles: readonly Role[] | undefined, left: number): Promise<Session> {
    const shareMs = (until - now()) / left
    const isShort = hosts.length > 1 && memory.getsShortTry(host)
    const limit = now() + (isShort ? Math.min(shareMs, options.addressTimeoutMs) : shareMs)
    const whenSilent = left === 1 ? 'retry' : 'fail'
    const opening = openWithFallback({ ...conninfo, hosts: [host] }, { ...options, whenSilent }, startedAt)
    current = opening
    try {
      const session = await withDeadline(opening.session, limit, now, 'connect_timeout')
      const role = roles && (await withDeadline(roleOf(session), limit, now, 'connect_timeout'))
      if (role && !roles.includes(role)) throw new WrongRole(role)
      memory.observe(host, undefined)
      return observed(session, host, memory)
    } catch (error) {
      if (error instanceof WrongRole) await retire(await opening.session, terminateMs, now)
      else opening.destroy(error as Error)
      memory.observe(host, error)
      throw error
    }
  }

  function destroy(error: Error) {
    destroyed ??= error
    current?.destroy(error)
  }
}

/** The same session, but the memory learns when its host falls silent or gets another role. */
function observed(session: Session, host: Host, memory: Memory): Session {
  return { ...session, readRole, destroy }

  async function readRole() {
    const role = await session.readRole()
    if (role && session.wanted?.includes(role) === false) memory.observe(host, new WrongRole(role))
    return role
  }

  function destroy(error: Error) {
    memory.observe(host, error)
    session.destroy(error)
  }
}

/** The role of a server. Throws WrongRole if the server does not tell it. */
async function roleOf(session: Session): Promise<Role> {
  const role = await session.readRole().catch(error => {
    throw isStatementError(error) ? new WrongRole('unknown', error) : error
  })
  if (role === undefined) throw new WrongRole('unknown')
  return role
}

/**
 * Whether every host would give this error. libpq also stops at a full server, a reset connection and failed TLS. We go on:
 * otherwise one bad host would mark all instances as down.
 */
function isFinal(error: unknown): boolean {
  const reason = reasonOf(error)
  return reason === 'auth_failed' || reason === 'no_database'
}

/** The error of a host that answers, but has another role; else that of the first host in the settings. */
function failureOf(hosts: readonly Host[], failures: ReadonlyMap<Host, unknown>): unknown {
  const errors = hosts.map(host => failures.get(host))
  return errors.find(error => error instanceof WrongRole && error.role !== 'unknown') ?? errors[0]
}
