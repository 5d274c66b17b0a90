// Loads the code for a connection of our own when the first check needs it.
import type { Config } from '../config/config.ts'
import type { Now } from '../health/deadline.ts'
import type { Phase } from '../health/phase.ts'
import type { Source } from '../health/source.ts'

/** What a database needs. */
export interface SessionOptions
  extends Pick<Config, 'readConninfo' | 'connectTimeoutMs' | 'sessionMaxAgeMs'> {
  readonly timeoutMs: number
  readonly phase: () => Phase
  readonly now: Now
}

/** A source that can be closed. */
export interface SessionSource extends Source {
  /** Ends the session politely, within half a second. */
  close(): Promise<void>
}

/** Makes the source. `load` is called once; if it fails, the check rejects, and the next one calls it again. */
export function createSessionSource(load: () => Promise<SessionSource>): SessionSource {
  let loading: Promise<SessionSource> | undefined
  let database: SessionSource | undefined

  return {
    async check(until) {
      database ??= await loadOnce()
      return database.check(until)
    },
    timedOut: () => database?.timedOut() ?? { result: 'connect_timeout', by: 'deadline' },
    async close() {
      const opened = await loading?.catch(() => undefined)
      await opened?.close()
    },
  }

  function loadOnce(): Promise<SessionSource> {
    loading ??= load().catch(error => {
      loading = undefined
      throw error
    })
    return loading
  }
}
