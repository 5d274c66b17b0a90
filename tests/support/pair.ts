// A primary and a standby that streams from it, made of two throwaway servers.
import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { administer } from './administer.ts'
import { type Configuration, openPostgres, type Postgres } from './postgres.ts'

export interface Pair {
  readonly primary: Postgres
  readonly standby: Postgres
  close(): Promise<void>
}

/** Makes the pair: about three seconds. */
export async function openPair(configuration: Configuration = {}): Promise<Pair> {
  const primary = await openPostgres(configuration)
  const standby = await openPostgres()
  await follow(standby, primary)
  return {
    primary,
    standby,
    async close() {
      await Promise.all([primary.close(), standby.close()])
    },
  }
}

/**
 * Makes `follower` a standby of `upstream`, with a copy of its data: npm's binaries have no pg_basebackup. Both are stopped
 * for the copy. Resolves when the WAL streams.
 *
 * @param port where the follower finds its upstream, if there is a proxy before it.
 */
export async function follow(follower: Postgres, upstream: Postgres, port = upstream.port): Promise<void> {
  await Promise.all([follower.stop(), upstream.stop()])
  const data = join(follower.folder, 'data')
  await rm(data, { recursive: true })
  // Unlike Node's cp, it keeps the owner, which may be another user.
  await promisify(execFile)('cp', ['-a', join(upstream.folder, 'data'), data])
  await follower.configure({
    settings: {
      port: `${follower.port}`,
      unix_socket_directories: follower.folder,
      primary_conninfo: `host=127.0.0.1 port=${port} user=postgres`,
      default_transaction_read_only: 'off',
    },
    files: { 'standby.signal': '' },
  })
  await upstream.start()
  await follower.start()
  await streaming(follower)
}

/** Resolves when the standby receives WAL. */
export async function streaming(standby: Postgres): Promise<void> {
  const query = "select 1 from pg_stat_wal_receiver where status = 'streaming'"
  while ((await administer(standby.url, query)).length === 0) await new Promise(setImmediate)
}

/** Promotes a standby. Resolves when it is a primary. */
export async function promote(standby: Postgres): Promise<void> {
  await administer(standby.url, 'select pg_promote()')
}
