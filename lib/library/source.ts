// Makes the source of verdicts for a service: its pool, or a dedicated connection.
import type { Config } from '../config/config.ts'
import type { Now } from '../health/deadline.ts'
import type { Phase } from '../health/phase.ts'
import type { Source } from '../health/source.ts'
import { createPoolSource } from '../pool/source.ts'
import type { Settings } from './options.ts'

/** A source that can be closed. */
export interface ClosableSource extends Source {
  /** Ends the running check, because the shutdown has started. Absent if the check may go on until `close`. */
  stop?(): void
  /** Ends a dedicated connection politely, within half a second. A pool of the service stays as it is. */
  close(): Promise<void>
  /** How many sessions have been opened. Undefined if the pool belongs to the service. */
  connectionsOpened(): number | undefined
}

/** What a dedicated connection needs. */
export interface SessionOptions
  extends Pick<Config, 'readConninfo' | 'connectTimeoutMs' | 'sessionMaxAgeMs'> {
  readonly timeoutMs: number
  readonly phase: () => Phase
  readonly now: Now
}

export interface SourceOptions extends Pick<Settings, 'source' | 'timeoutMs'> {
  readonly phase: () => Phase
  readonly now: Now
  /** Loads the driver. Called by the first check on a dedicated connection. */
  readonly loadDatabase: () => Promise<{ createDatabase(options: SessionOptions): ClosableSource }>
}

/** Makes the source. It does nothing until its first check. */
export function createSource({ source, loadDatabase, ...options }: SourceOptions): ClosableSource {
  if (source.kind === 'pool') {
    const pool = createPoolSource({ ...source, now: options.now })
    return { ...pool, close: async () => {}, connectionsOpened: () => undefined }
  }
  return createSessionSource(async () => (await loadDatabase()).createDatabase({ ...source, ...options }))
}

/** `load` is called once; if it fails, the check rejects, and the next one calls it again. */
function createSessionSource(load: () => Promise<ClosableSource>): ClosableSource {
  let loading: Promise<ClosableSource> | undefined
  let database: ClosableSource | undefined

  return {
    async check(...task) {
      database ??= await loadOnce()
      return database.check(...task)
    },
    timedOut: () => database?.timedOut() ?? { result: 'connect_timeout', by: 'deadline' },
    async close() {
      const opened = await loading?.catch(() => undefined)
      await opened?.close()
    },
    connectionsOpened: () => database?.connectionsOpened() ?? 0,
  }

  function loadOnce(): Promise<ClosableSource> {
    loading ??= load().catch(error => {
      loading = undefined
      throw error
    })
    return loading
  }
}
