// Limits how long PostgreSQL may take for something: a connection, an answer, the end of a session.
import { atDeadline, type Now } from '../health/deadline.ts'

/** A wait that took too long; `reason` says what was waited for: a connection, or the answer to a query. */
export class Expired extends Error {
  readonly reason: 'connect_timeout' | 'timeout'
  constructor(reason: 'connect_timeout' | 'timeout') {
    super(reason)
    this.reason = reason
  }
}

/**
 * Settles as `work` does, or rejects with Expired when `until` has passed (milliseconds on the clock of `now`). An answer
 * that has already arrived counts, even if our event loop was blocked past the deadline.
 */
export function withDeadline<T>(
  work: Promise<T>,
  until: number,
  now: Now,
  reason: Expired['reason'],
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = atDeadline(until, now, () => reject(new Expired(reason)))
    work.then(resolve, reject).finally(cancel)
  })
}
