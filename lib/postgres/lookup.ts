// Looks up host names, with at most one call to the system per name at a time.

import { lookup as resolve } from 'node:dns'
import type net from 'node:net'

/**
 * Makes a name resolver that has at most one getaddrinfo outstanding per name, and shares its answer. Without this, a
 * resolver that does not answer would fill libuv's threads with one call per attempt: lookups can't be cancelled.
 */
export function createLookup(): net.LookupFunction {
  const outstanding = new Map<string, Promise<LookupResult>>()
  return (hostname, _options, callback) => {
    const shared = outstanding.get(hostname) ?? startLookup(hostname)
    shared.then(({ error, addresses }) => callback(error, addresses))
  }

  function startLookup(hostname: string): Promise<LookupResult> {
    const lookup = new Promise<LookupResult>(done => {
      resolve(hostname, { all: true }, (error, addresses) => {
        outstanding.delete(hostname)
        done({ error, addresses })
      })
    })
    outstanding.set(hostname, lookup)
    return lookup
  }
}

interface LookupResult {
  readonly error: NodeJS.ErrnoException | null
  readonly addresses: { address: string; family: number }[]
}
