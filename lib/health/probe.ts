// Runs one check at a time, shared by the requests that arrived before it started.
import { atDeadline, type Now } from './deadline.ts'
import type { Phase } from './phase.ts'
import { deeperOf, type Question } from './role.ts'
import { shutdownVerdict, type Verdict } from './verdict.ts'

/** Receives the verdict, and how long the request waited before its check started (milliseconds). */
export type Answer = (verdict: Verdict, waitMs: number) => void

/** Receives an internal error, for which there is no verdict. */
export type Fail = (error: unknown) => void

/**
 * Answers one request: calls either function exactly once. What one throws has no effect on other requests.
 *
 * @param question what the verdict must tell; `health` unless given.
 */
export type Check = (answer: Answer, fail: Fail, question?: Question) => void

export interface ProbeOptions {
  /**
   * Runs one check. Settles by `until` (milliseconds on the clock of `now`).
   *
   * @param onHealthy may be called once, with the verdict of SELECT 1, while the server's role is still being asked.
   */
  readonly runCheck: (
    until: number,
    question: Question,
    onHealthy: (verdict: Verdict) => void,
  ) => Promise<Verdict>
  /**
   * Gives the verdict for requests that reach their deadline while a check is running. Called at most once per check. If
   * it throws, those requests fail, and it is called again for the next.
   */
  readonly timedOut: () => Verdict
  readonly phase: () => Phase
  readonly now: Now
  /** Every request is answered within this many milliseconds. */
  readonly timeoutMs: number
}

export interface Probe {
  /**
   * Answers within `timeoutMs` with the verdict of a check that started after this call; fails if `runCheck` rejects.
   *
   * At most one check runs and one is pending. A request joins the pending one, never the running one: that may have
   * queried the database before the request arrived. A check asks the deepest question of its requests. Requests for
   * `/health` do not wait for the role, unless target_session_attrs asks for one. These are callbacks because a promise
   * per request costs more (docs/performance.md).
   */
  readonly check: Check
  /** Answers all waiting requests: the server is shutting down. Call it when the phase `serving` is over. */
  stop(): void
}

/** A request that has joined a check. */
interface Waiting {
  readonly arrivedAt: number
  readonly deadline: number
  readonly answer: Answer
  readonly fail: Fail
  readonly question: Question
  answered: boolean
}

interface RunningCheck {
  readonly requests: readonly Waiting[]
  readonly startedAt: number
  /** Shared by all requests that time out during this check. */
  timedOut?: Verdict
}

/** Decide 5 ms before the deadline, so that there is time to write the response. */
const writeReserveMs = 5
/** Let the check itself time out 2 ms before that: its verdict is more specific than `timedOut`. */
const checkMarginMs = 2

/** Makes a probe. When no request is waiting, it holds no timer and does nothing. */
export function createProbe({ runCheck, timedOut, phase, now, timeoutMs }: ProbeOptions): Probe {
  // Both lists are in order of arrival, and so in order of deadlines.
  let running: RunningCheck | undefined
  let pending: Waiting[] = []
  /** Set while a request is waiting: for the earliest deadline. */
  let cancelTimer: (() => void) | undefined

  return { check, stop }

  function check(answer: Answer, fail: Fail, question: Question = 'health') {
    if (phase() !== 'serving') return answer(shutdownVerdict, 0)
    const arrivedAt = now()
    const deadline = arrivedAt + timeoutMs - writeReserveMs
    pending.push({ arrivedAt, deadline, answer, fail, question, answered: false })
    if (!running) start()
    else if (cancelTimer === undefined) watch()
  }

  /** Starts the check of all requests that have arrived by now. A request that arrives later gets the next check. */
  function start() {
    const requests = pending
    const last = requests.at(-1)
    if (!last) return
    const check: RunningCheck = { requests, startedAt: now() }
    running = check
    pending = []
    watch()
    const question = requests.map(request => request.question).reduce(deeperOf)
    // The check may take as long as its last request can wait. Requests that join the next check arrived later still, so
    // this one ends before any of them times out, and the next check always gets its turn.
    const until = last.deadline - checkMarginMs
    const answerWith = (verdict: Verdict) => (request: Waiting) =>
      request.answer(verdict, check.startedAt - request.arrivedAt)
    const onHealthy = (verdict: Verdict) => answerAll(requests.filter(wantsHealth), answerWith(verdict))
    runCheck(until, question, onHealthy).then(
      verdict => end(check, answerWith(verdict)),
      error => end(check, request => request.fail(error)),
    )
  }

  /**
   * Answers first, then starts the next check. The driver sends a query in a later turn of the event loop, so the
   * query would not leave any sooner if it were started first.
   */
  function end({ requests }: RunningCheck, answer: (request: Waiting) => void) {
    answerAll(requests, answer)
    running = undefined
    unwatch()
    start()
  }

  function watch() {
    const first = running?.requests.find(isWaiting) ?? pending[0]
    if (first) cancelTimer = atDeadline(first.deadline, now, timeOut)
  }

  function unwatch() {
    cancelTimer?.()
    cancelTimer = undefined
  }

  /** Answers all requests that are past their deadline, of the running check and of the pending one. */
  function timeOut() {
    const time = now()
    const isOverdue = (request: Waiting) => isWaiting(request) && request.deadline <= time
    const overdue = [...(running?.requests ?? []), ...pending].filter(isOverdue)
    if (running && overdue.length > 0) {
      try {
        running.timedOut ??= timedOut()
        answerNow(running.timedOut, isOverdue)
      } catch (error) {
        // Nothing handles an error of a timer: it would end the process.
        answerAll(overdue, request => request.fail(error))
        pending = pending.filter(isWaiting)
      }
    }
    unwatch()
    watch()
  }

  function stop() {
    unwatch()
    answerNow(shutdownVerdict, isWaiting)
  }

  /** Answers the requests that `which` selects without waiting for the check any longer. */
  function answerNow(verdict: Verdict, which: (request: Waiting) => boolean) {
    const time = now()
    const startedAt = running?.startedAt ?? time
    answerAll(running?.requests.filter(which) ?? [], request =>
      request.answer(verdict, startedAt - request.arrivedAt),
    )
    answerAll(pending.filter(which), request => request.answer(verdict, time - request.arrivedAt))
    pending = pending.filter(isWaiting)
  }
}

/** Answers each request that has had no answer yet. */
function answerAll(requests: readonly Waiting[], answer: (request: Waiting) => void) {
  for (const request of requests.filter(isWaiting)) {
    request.answered = true
    try {
      answer(request)
    } catch {
      // Its own request is lost. The other requests get their answer, and the next check starts.
    }
  }
}

function wantsHealth({ question }: Waiting): boolean {
  return question === 'health'
}

function isWaiting({ answered }: Waiting): boolean {
  return !answered
}
