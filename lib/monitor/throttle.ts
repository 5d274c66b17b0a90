// Counts what happens too often for a line each, and lets one line a minute out.

/** Counts by key until the next line. */
export interface Throttle<Key> {
  count(key: Key): void
  /** Returns the counts since the last call that returned any; undefined if there are none, or if that call was too recent. */
  take(): ReadonlyMap<Key, number> | undefined
}

const intervalMs = 60_000

/**
 * Makes a throttle, which has no timer: `take` must be called from time to time. The first count is let out immediately.
 *
 * @param now monotonic milliseconds.
 */
export function createThrottle<Key>(now: () => number): Throttle<Key> {
  let counts = new Map<Key, number>()
  let takenAt = Number.NEGATIVE_INFINITY
  return { count, take }

  function count(key: Key) {
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }

  function take() {
    if (counts.size === 0 || now() - takenAt < intervalMs) return undefined
    const taken = counts
    counts = new Map()
    takenAt = now()
    return taken
  }
}
