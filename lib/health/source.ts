// What a probe asks about the database: a session of our own, or the pool of a service.
import type { Question } from './role.ts'
import type { Verdict } from './verdict.ts'

export interface Source {
  /**
   * Runs one check: SELECT 1, then what else `question` needs. Settles by `until` (milliseconds on the clock of the
   * source). Rejects only with an error of our own. One call at a time. A source that can't tell the role leaves it out of the verdict.
   *
   * @param onHealthy gets the verdict of SELECT 1, if it does not depend on the role that is asked next.
   */
  check(until: number, question?: Question, onHealthy?: (verdict: Verdict) => void): Promise<Verdict>
  /** The verdict for a request that reaches its deadline now, while its check is still running. */
  timedOut(): Verdict
}
