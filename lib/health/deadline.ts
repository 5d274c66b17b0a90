// Fires at a deadline, but first reads what has already arrived.

/** Milliseconds on a monotonic clock. A parameter everywhere, so that tests can control it. */
export type Now = () => number

/**
 * Calls `fire` when `until` has passed (milliseconds on the clock of `now`). If the event loop was blocked past the
 * deadline, the awaited data may already be in a socket buffer, so that data is read first.
 *
 * @returns a function that cancels the call.
 */
export function atDeadline(until: number, now: Now, fire: () => void): () => void {
  let cancelFire = () => {}
  const timer = setTimeout(
    () => {
      cancelFire = afterInput(fire)
    },
    Math.max(0, Math.ceil(until - now())),
  )
  return () => {
    clearTimeout(timer)
    cancelFire()
  }
}

/**
 * Calls `fire` after I/O, so data that has arrived is handled first.
 *
 * @returns a function that cancels the call.
 */
export function afterInput(fire: () => void): () => void {
  const immediate = setImmediate(fire)
  return () => clearImmediate(immediate)
}
