// Where verdicts come from: a dedicated connection, or the pool of a service.
import type { Question } from './role.ts'
import type { Verdict } from './verdict.ts'

export interface Source {
  /**
   * Runs one check: SELECT 1, then what else `question` needs. Settles by `until` (milliseconds on the clock of the
   * source). Rejects only with an internal error. One call at a time. A source that can't tell the role leaves it out of
   * the verdict.
   *
   * @param onHealthy gets the verdict of SELECT 1 before the role is known; not called if the verdict depends on the role.
   */
  check(until: number, question?: Question, onHealthy?: (verdict: Verdict) => void): Promise<Verdict>
  /** The verdict for a request that reaches its deadline now, while its check is still running. */
  timedOut(): Verdict
}
