// What a service imports: createHealth() and pgPool(). Importing it has no effect.
import { createHealth as create, type Health } from './lib/library/health.ts'
import type { HealthOptions } from './lib/library/options.ts'
import { readTextFile } from './lib/system/file.ts'

export { ConfigError } from './lib/error.ts'
export type { Reason, Verdict } from './lib/health/verdict.ts'
export type { Health } from './lib/library/health.ts'
export type { CommonOptions, DatabaseOptions, HealthOptions, PoolOptions } from './lib/library/options.ts'
export type { HealthCheck } from './lib/pool/foreign.ts'
export { type PgClient, type PgPool, pgPool } from './lib/pool/pg.ts'

/**
 * Makes /health for your service: on the pool that the service uses (`check`), or on a connection of its own
 * (`database`). Nothing runs until the first request.
 *
 * Parameters of `database` that have no effect, such as the sizes of pools, are named in one warning of the process, with
 * the code PG_HEALTH_LEFT_OUT.
 *
 * @throws ConfigError with every fault in the options, in `faults` and in its message.
 */
export function createHealth(options: HealthOptions): Health {
  return create(options, {
    now: () => performance.now(),
    readFile: readTextFile,
    // The driver costs time and memory, and a service with its own pool never needs it.
    loadDatabase: () => import('./lib/postgres/database.ts'),
    onLeftOut: names =>
      process.emitWarning(`createHealth() leaves out of database: ${names.join(', ')}`, {
        code: 'PG_HEALTH_LEFT_OUT',
      }),
  })
}
