// Measures how much time has passed, time asleep included, and puts dates on what happened.

export interface ClockOptions {
  /** Monotonic clock, milliseconds. It stands still while the machine is suspended. */
  readonly now: () => number
  /** Wall clock. It can be set forward and back. */
  readonly date: () => Date
}

export interface Clock {
  /** Milliseconds since the clock was made. Never decreases. */
  elapsedMs(): number
  /** The date at which `elapsedMs` was `ms`, by the wall clock as it was at the last call of `elapsedMs`. */
  dateOf(ms: number): Date
}

/** Smaller differences between the clocks are drift and rounding, milliseconds. */
const jumpMs = 1_000

/**
 * Makes a clock out of two, so that each age is the larger of what the two say. Dates keep their order and
 * distances: when the wall clock is set back, all of them move by as much.
 *
 * A wall clock that is set forward looks like a suspend. Ages are then too large, which is the safe side: old
 * knowledge is never called fresh.
 */
export function createClock({ now, date }: ClockOptions): Clock {
  const startedAt = now()
  let suspendedMs = 0
  /** How far the wall clock is ahead of the monotonic clock, milliseconds. */
  let lead = date().getTime() - startedAt
  let startDate = lead + startedAt

  return { elapsedMs, dateOf }

  function elapsedMs() {
    const monotonic = now()
    const newLead = date().getTime() - monotonic
    if (newLead - lead > jumpMs) suspendedMs += newLead - lead
    lead = newLead
    const elapsed = monotonic - startedAt + suspendedMs
    const newStartDate = lead + monotonic - elapsed
    if (Math.abs(newStartDate - startDate) >= jumpMs) startDate = newStartDate
    return elapsed
  }

  function dateOf(ms: number) {
    return new Date(startDate + ms)
  }
}
