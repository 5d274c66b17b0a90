// Turns "ask the database" into a verdict in bounded time, shared by all who arrived before it began.

/** What the probe needs; the clock is an argument, so that only monotonic time decides. */
export interface ProbeOptions<Verdict> {
  /** Runs one check. Settles by `until` (milliseconds of `now`), give or take the event loop; never throws. */
  readonly ask: (until: number) => Promise<Verdict>
  /** What requests are told whose own time is up while `ask` is still at work for later ones. */
  readonly expired: () => Verdict
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Every request has its answer this many milliseconds after it came. */
  readonly timeoutMs: number
}

/** A verdict, and how much of the request's time went by before its check began (milliseconds). */
export interface Outcome<Verdict> {
  readonly verdict: Verdict
  readonly waitMs: number
}

export interface Probe<Verdict> {
  /**
   * Resolves with the verdict of a check that began after this call, within `timeoutMs`; rejects only as `ask` does.
   * Concurrent calls share: one check runs, one is next, and a call joins the next, never the running one.
   */
  check(): Promise<Outcome<Verdict>>
  /** Answers everyone who waits, and everyone who comes later, with `verdict`; asks no more. */
  stop(verdict: Verdict): void
}

interface Waiter<Verdict> {
  readonly arrivedAt: number
  readonly deadline: number
  readonly resolve: (outcome: Outcome<Verdict>) => void
  readonly reject: (fault: unknown) => void
  answered: boolean
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
  /** Whose check runs, while one does; and who has come since. Both stand in order of arrival. */
  let running: readonly Waiter<Verdict>[] | undefined
  let next: Waiter<Verdict>[] = []
  let beganAt = 0
  /** Set whenever somebody waits: for whoever's time is up first. */
  let timer: NodeJS.Timeout | undefined
  let stopped: { readonly verdict: Verdict } | undefined

  return { check, stop }

  function check(): Promise<Outcome<Verdict>> {
    if (stopped) return Promise.resolve({ verdict: stopped.verdict, waitMs: 0 })
    return new Promise((resolve, reject) => {
      const arrivedAt = now()
      const deadline = arrivedAt + timeoutMs - reserveMs
      next.push({ arrivedAt, deadline, resolve, reject, answered: false })
      if (!running) begin()
      else if (timer === undefined) watch()
    })
  }

  /** Everyone who has come until now gets this check; whoever comes from now on gets the one after it. */
  function begin() {
    const waiters = next
    const last = waiters.at(-1)
    if (!last) return
    running = waiters
    next = []
    beganAt = now()
    watch()
    // The check may take as long as its last request can wait. All of these came before whoever joins the
    // next check, so this one is over before any of those runs out of time: the next always gets its turn.
    ask(last.deadline - headStartMs).then(
      verdict => {
        answer(waiters, verdict)
        end()
      },
      fault => {
        for (const waiter of waiters) waiter.reject(fault)
        end()
      },
    )
  }

  function end() {
    running = undefined
    unwatch()
    begin()
  }

  function answer(waiters: readonly Waiter<Verdict>[], verdict: Verdict, checkBeganAt = beganAt) {
    for (const waiter of waiters) {
      waiter.answered = true
      waiter.resolve({ verdict, waitMs: checkBeganAt - waiter.arrivedAt })
    }
  }

  function watch() {
    const first = running?.find(isWaiting) ?? next[0]
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
    const [late, lateNext] = [running?.filter(isDue) ?? [], next.filter(isDue)]
    if (late.length + lateNext.length > 0) {
      const verdict = expired()
      answer(late, verdict)
      answer(lateNext, verdict, time)
      next = next.filter(isWaiting)
    }
    unwatch()
    watch()
  }

  function stop(verdict: Verdict) {
    stopped = { verdict }
    unwatch()
    answer(running?.filter(isWaiting) ?? [], verdict)
    answer(next, verdict, now())
    next = []
  }
}

function isWaiting(waiter: { readonly answered: boolean }): boolean {
  return !waiter.answered
}
