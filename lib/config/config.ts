// Reads all settings: one checked value, or an error that names every fault.

import { type CertifiedConninfo, type Environment, maskedUrlOf } from '../conninfo/conninfo.ts'
import { ConfigError, type Result } from '../error.ts'
import { understoodOf } from './description.ts'
import type { ReadFile } from './files.ts'
import { readRows, type ValuesOf } from './rows.ts'
import { ownSettings } from './settings.ts'
import { readSource, type Source } from './source.ts'

export type { CertifiedConninfo, ReadFile }

/** Takes the faults of settings that were right before: the last good value is used until they are right again. */
export type OnStale = (faults: readonly string[]) => void

/** Everything an operator can set, checked. Durations are milliseconds. */
export interface Config extends ValuesOf<typeof ownSettings> {
  /** The database as a URL with its password masked. */
  readonly maskedUrl: string
  /** What was understood of the database, line by line, without the password. */
  readonly understood: readonly (readonly [what: string, value: string])[]
  /** Parameters and files that were left out: a warning is due when there are any. */
  readonly leftOut: readonly string[]
  /**
   * Reads files again, so that a rotated password is picked up. While they are wrong, a file that is just being
   * replaced for one, it gives the last good value; `onStale` is told once, when that begins.
   */
  readonly readConninfo: (onStale?: OnStale) => CertifiedConninfo
}

/**
 * Reads all settings. Throws ConfigError with every fault there is.
 *
 * @param osUser who PostgreSQL's user is when none is named; empty when the system has no name for it.
 */
export function readConfig(env: Environment, readFile: ReadFile, osUser: string): Config {
  const read = () => readSource({ env, readFile, osUser })
  const faults: string[] = []
  const values = readRows(ownSettings, env, faults)
  const source = read()
  if ('faults' in source) throw new ConfigError([...source.faults, ...faults])
  if (faults.length > 0) throw new ConfigError(faults)
  const { conninfo, leftOut } = source.value
  return {
    ...values,
    maskedUrl: maskedUrlOf(conninfo),
    understood: understoodOf(conninfo),
    leftOut,
    readConninfo: withMemory(read, source.value),
  }
}

/** Keeps the last good value: a false alarm because a file is empty for a moment would help nobody. */
function withMemory(read: () => Result<Source>, first: Source): Config['readConninfo'] {
  let last = first
  let isStale = false
  return onStale => {
    const now = read()
    const faults = 'faults' in now ? now.faults : lostPassword(now.value)
    if ('value' in now && faults.length === 0) last = now.value
    else if (!isStale) onStale?.(faults)
    isStale = faults.length > 0
    return last.conninfo
  }

  /** A password file that is missing is no fault in itself. */
  function lostPassword({ conninfo }: Source): readonly string[] {
    const isLost = last.passwordFrom === 'passfile' && conninfo.password === ''
    return isLost ? ['the password file no longer has the password that was used'] : []
  }
}

/** What a client of this server needs to know: where it listens, its deadline, what it calls slow. */
export type ClientConfig = Pick<Config, 'host' | 'port' | 'timeoutMs' | 'slowMs'>

/** Reads the client's part of the settings; no database is needed. Throws ConfigError. */
export function readClientConfig(env: Environment): ClientConfig {
  const faults: string[] = []
  const { host, port, timeoutMs, slowMs } = ownSettings
  const found = readRows({ host, port, timeoutMs, slowMs }, env, faults)
  if (faults.length > 0) throw new ConfigError(faults)
  return found
}

/** The URL of `/health` for people to read; a zone of an IPv6 address is percent-encoded, as RFC 6874 has it. */
export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host.replace('%', '%25')}]` : host}:${port}/health`
}

/** What `--check-config` prints: what was understood, line by line, and never the password. */
export function describeConfig({ maskedUrl, understood, leftOut }: Config): string {
  const lines = [...understood, ...(leftOut.length > 0 ? [['left out', leftOut.join(', ')] as const] : [])]
  const table = lines.map(([what, value]) => `  ${what.padEnd(12)}${value}\n`)
  return `The settings are right: ${maskedUrl}\n${table.join('')}`
}
