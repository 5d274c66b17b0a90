// Turns "ask the database" into a verdict in bounded time, shared by all who arrived before it began.

/** What the probe needs; the clock is an argument, so that only monotonic time decides. */
export interface ProbeOptions<Verdict> {
  /** Runs one check. Settles by `until` (milliseconds of `now`), give or take the event loop; never throws. */
  readonly ask: (until: number) => Promise<Verdict>
  /** What requests are told whose own time is up while `ask` is still at work for later ones: called once for them all. */
  readonly expired: () => Verdict
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Every request has its answer this many milliseconds after it came. */
  readonly timeoutMs: number
}

/** Takes a verdict, and how much of the request's time went by before its check began (milliseconds). */
export type Answer<Verdict> = (verdict: Verdict, waitMs: number) => void

export interface Probe<Verdict> {
  /**
   * Calls `answer` once, with the verdict of a check that began after this call, within `timeoutMs`; or `fail`,
   * when `ask` rejects. Neither may throw. Concurrent calls share: one check runs, one is next, and a call joins
   * the next, never the running one. Callbacks, as a promise and its await for each request cost more
   * (docs/performance.md).
   */
  check(answer: Answer<Verdict>, fail: (fault: unknown) => void): void
  /** Answers everyone who waits, and everyone who comes later, with `verdict`; asks no more. */
  stop(verdict: Verdict): void
}

interface Waiter<Verdict> {
  readonly arrivedAt: number
  readonly deadline: number
  readonly answer: Answer<Verdict>
  readonly fail: (fault: unknown) => void
  answered: boolean
}

interface Running<Verdict> {
  readonly waiters: readonly Waiter<Verdict>[]
  readonly beganAt: number
  /** Told to the first whose time was up. */
  expired: { readonly verdict: Verdict } | undefined
}

/** An answer is still to be written when the time is up: it is decided this much earlier (milliseconds). */
const reserveMs = 5
/** The check itself ends this much before that: its own verdict knows more than `expired` (milliseconds). */
const headStartMs = 2

/** Makes a probe; it is idle, without a timer, whenever nobody waits. */
export function createProbe<Verdict>({
  ask,
  expired,
  now,
  timeoutMs,
}: ProbeOptions<Verdict>): Probe<Verdict> {
  /** The check that runs, if one does, and for whom; and who has come since. Both stand in order of arrival. */
  let running: Running<Verdict> | undefined
  let next: Waiter<Verdict>[] = []
  /** Set whenever somebody waits: for whoever's time is up first. */
  let timer: NodeJS.Timeout | undefined
  let stopped: { readonly verdict: Verdict } | undefined

  return { check, stop }

  function check(answer: Answer<Verdict>, fail: (fault: unknown) => void) {
    if (stopped) return answer(stopped.verdict, 0)
    const arrivedAt = now()
    const deadline = arrivedAt + timeoutMs - reserveMs
    next.push({ arrivedAt, deadline, answer, fail, answered: false })
    if (!running) begin()
    else if (timer === undefined) watch()
  }

  /** Everyone who has come until now gets this check; whoever comes from now on gets the one after it. */
  function begin() {
    const waiters = next
    const last = waiters.at(-1)
    if (!last) return
    const beganAt = now()
    running = { waiters, beganAt, expired: undefined }
    next = []
    watch()
    // The check may take as long as its last request can wait. All of these came before whoever joins the
    // next check, so this one is over before any of those runs out of time: the next always gets its turn.
    ask(last.deadline - headStartMs).then(
      verdict => {
        end()
        tell(waiters, verdict, beganAt)
      },
      fault => {
        end()
        settle(waiters, waiter => waiter.fail(fault))
      },
    )
  }

  /** The next statement is on its way while the answers of the last are written: 3 to 7 % more of them with 64 clients. */
  function end() {
    running = undefined
    unwatch()
    begin()
  }

  function tell(waiters: readonly Waiter<Verdict>[], verdict: Verdict, beganAt: number) {
    settle(waiters, waiter => waiter.answer(verdict, beganAt - waiter.arrivedAt))
  }

  /** Those whose time was up before have had their answer. */
  function settle(waiters: readonly Waiter<Verdict>[], how: (waiter: Waiter<Verdict>) => void) {
    for (const waiter of waiters) {
      if (waiter.answered) continue
      waiter.answered = true
      how(waiter)
    }
  }

  function watch() {
    const first = running?.waiters.find(isWaiting) ?? next[0]
    if (!first) return
    // When the event loop was stalled, a verdict may lie in the socket's buffer: it is read before this says no.
    timer = setTimeout(() => setImmediate(expire), Math.max(0, Math.ceil(first.deadline - now())))
  }

  function unwatch() {
    clearTimeout(timer)
    timer = undefined
  }

  function expire() {
    const time = now()
    const isDue = (waiter: Waiter<Verdict>) => isWaiting(waiter) && waiter.deadline <= time
    const [late, lateNext] = [running?.waiters.filter(isDue) ?? [], next.filter(isDue)]
    if (running && late.length + lateNext.length > 0) {
      running.expired ??= { verdict: expired() }
      const { verdict } = running.expired
      tell(late, verdict, running.beganAt)
      tell(lateNext, verdict, time)
      next = next.filter(isWaiting)
    }
    unwatch()
    watch()
  }

  function stop(verdict: Verdict) {
    stopped = { verdict }
    unwatch()
    if (running) tell(running.waiters, verdict, running.beganAt)
    tell(next, verdict, now())
    next = []
  }
}

function isWaiting(waiter: { readonly answered: boolean }): boolean {
  return !waiter.answered
}
