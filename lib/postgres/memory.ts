// Remembers hosts from one attempt to the next: the last good one is tried first, silent ones are tried last.

import type { Host } from '../conninfo/conninfo.ts'
import { codeOf } from '../error.ts'
import type { Now } from '../health/deadline.ts'
import { Expired } from './expiry.ts'
import { WrongRole } from './reason.ts'

export interface Memory {
  /** The good host first, silent ones last, the rest in the order of the settings. */
  sorted(hosts: readonly Host[]): readonly Host[]
  /** Whether the host is silent, and had its whole share of the time not long ago. */
  getsShortTry(host: Host): boolean
  /** Takes what was wrong with a host; undefined if its session is open and fits. */
  observe(host: Host, error: unknown): void
}

/**
 * How often a silent host gets its whole share of the time. In between it gets `addressTimeoutMs`: a frozen host must not
 * delay finding a promoted standby.
 */
const wholeShareEveryMs = 30_000

/** Makes a memory that knows nothing yet. Libpq remembers nothing, and waits for a silent host each time. */
export function createMemory(now: Now): Memory {
  /** The host of the last session, until it is silent or has another role. */
  let good: string | undefined
  /** Silent hosts, with the time of the last try that had its whole share. */
  const silent = new Map<string, number>()
  return { sorted, getsShortTry, observe }

  function sorted(hosts: readonly Host[]): readonly Host[] {
    const rankOf = (host: Host) => (keyOf(host) === good ? 0 : silent.has(keyOf(host)) ? 2 : 1)
    return hosts.toSorted((one, other) => rankOf(one) - rankOf(other))
  }

  function getsShortTry(host: Host): boolean {
    return now() - (silent.get(keyOf(host)) ?? Number.NEGATIVE_INFINITY) < wholeShareEveryMs
  }

  function observe(host: Host, error: unknown) {
    const key = keyOf(host)
    if (error === undefined) good = key
    else if (good === key && (isSilence(error) || error instanceof WrongRole)) good = undefined
    if (!isSilence(error)) silent.delete(key)
    else if (!getsShortTry(host)) silent.set(key, now())
  }
}

function keyOf({ host, address, port }: Host): string {
  return `${address ?? host} ${port}`
}

/** Whether the host did not answer in time. A query that the server canceled (57014) is an answer. */
function isSilence(error: unknown): boolean {
  return error instanceof Expired || codeOf(error) === 'ETIMEDOUT'
}
