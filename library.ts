// What a service imports: createHealth() and pgPool(). Importing it has no effect.
import { detailsOf } from './lib/error.ts'
import { createLife } from './lib/health/phase.ts'
import type { Verdict } from './lib/health/verdict.ts'
import type { Health, HealthOptions } from './lib/library/api.ts'
import { createEndpoint } from './lib/library/endpoint.ts'
import { readOptions, type Settings } from './lib/library/options.ts'
import { createSource } from './lib/library/source.ts'
import { readTextFile } from './lib/system/file.ts'
import { readVersion } from './lib/system/version.ts'

export { ConfigError } from './lib/error.ts'
export type { Reason, Verdict } from './lib/health/verdict.ts'
export type {
  CommonOptions,
  DatabaseOptions,
  Health,
  HealthOptions,
  PoolOptions,
} from './lib/library/api.ts'
export { type PgClient, type PgPool, pgPool } from './lib/pool/pg.ts'
export type { HealthCheck } from './lib/pool/source.ts'

/**
 * Makes /health for your service: on the pool that the service uses (`check`), or on a dedicated connection
 * (`database`). Nothing runs until the first request.
 *
 * If parameters of `database` have no effect (pool sizes, for example), one process warning names them; its code is
 * PG_HEALTH_LEFT_OUT. If `onVerdict` throws or its promise rejects, another one tells it; its code is PG_HEALTH_ON_VERDICT.
 *
 * @throws ConfigError with every fault in the options, in `faults` and in its message.
 */
export function createHealth(options: HealthOptions): Health {
  const settings = readOptions(options, readTextFile)
  warnOf(settings)
  const onVerdict = guard(settings.onVerdict)
  const now = () => performance.now()
  const life = createLife()
  // The driver costs time and memory, and a service with its own pool never needs it.
  const loadDatabase = () => import('./lib/postgres/database.ts')
  const source = createSource({ ...settings, phase: life.phase, now, loadDatabase })
  const details = settings.pages
    ? {
        version: readVersion(import.meta.url),
        date: () => new Date(),
        // The service exports its own process metrics.
        more: [],
      }
    : undefined
  const endpoint = createEndpoint({ ...settings, onVerdict, source, roles: 'absent', life, now, details })
  const { handler, fetch, drain, close } = endpoint
  return { handler, fetch, drain, close }
}

function warnOf({ source }: Settings) {
  if (source.kind === 'pool' || source.leftOut.length === 0) return
  process.emitWarning(`createHealth() leaves out of database: ${source.leftOut.join(', ')}`, {
    code: 'PG_HEALTH_LEFT_OUT',
  })
}

/** Wraps `onVerdict`: what it throws, or its promise rejects with, becomes one process warning. It never throws. */
function guard(onVerdict: Settings['onVerdict']): (verdict: Verdict) => void {
  let warned = false
  return verdict => {
    new Promise(resolve => resolve(onVerdict(verdict)))
      .catch(error => warn(detailsOf(error)))
      // The error itself can be so broken that it cannot be read.
      .catch(() => warn())
  }

  /** Without the message of the error: a service may throw `verdict.error`, which may hold secrets. */
  function warn({ name, stack }: Partial<ReturnType<typeof detailsOf>> = {}) {
    if (warned) return
    const text = `onVerdict of createHealth() failed (${name ?? 'unreadable error'}); said only once`
    process.emitWarning(text, { code: 'PG_HEALTH_ON_VERDICT', detail: stack?.join('\n') ?? '' })
    warned = true
  }
}
