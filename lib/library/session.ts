// Loads the code for a connection of our own when the first check needs it.
import type { Source } from '../health/source.ts'
import type { Database } from '../postgres/database.ts'

/** A source that can be closed. */
export interface SessionSource extends Source {
  /** Ends the session politely, within half a second. */
  close(): Promise<void>
}

/** Makes the source. `load` is called once; if it fails, the check rejects, and the next one calls it again. */
export function createSessionSource(load: () => Promise<Database>): SessionSource {
  let loading: Promise<Database> | undefined
  let database: Database | undefined

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

  function loadOnce(): Promise<Database> {
    loading ??= load().catch(error => {
      loading = undefined
      throw error
    })
    return loading
  }
}
