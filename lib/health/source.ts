// What a probe asks about the database: a session of our own, or the pool of a service.
import type { Verdict } from './verdict.ts'

export interface Source {
  /**
   * Runs one check. Settles by `until` (milliseconds on the clock of the source); never rejects. One call at a time.
   */
  check(until: number): Promise<Verdict>
  /** The verdict for a request that reaches its deadline now, while its check is still running. */
  timedOut(): Verdict
}
