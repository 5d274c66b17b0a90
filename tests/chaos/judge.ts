// Decides for each recorded answer whether the four promises allowed it. A pure function: no clock, no I/O.
import { type Reason, sentences } from '../../lib/health/verdict.ts'
import { checkQuery } from '../support/proxy.ts'

/** A span of time. All times are milliseconds of one clock. */
export interface Interval {
  readonly from: number
  readonly until: number
}

/** One request and its answer. */
export interface Exchange {
  /** The name of the client, for people. */
  readonly client: string
  readonly path: string
  readonly sentAt: number
  readonly answeredAt: number
  /** What was answered: `healthy`, `alive` or a reason; anything else says what was wrong with it. */
  readonly answer: string
}

export interface SeenStatement {
  readonly text: string
  readonly beganAt: number
  /** Undefined while it was open at the end of the recording. */
  readonly endedAt: number | undefined
  readonly answered: boolean
  /** What the server returned: one row with one column. */
  readonly value: string | undefined
  /** Its index in `connections`. */
  readonly connection: number
}

export interface SeenConnection {
  readonly openedAt: number
  /** Undefined while it was open at the end of the recording. */
  readonly closedAt: number | undefined
}

/** A time during which the database could not answer, or not on every connection. */
export interface Fault extends Interval {
  readonly name: string
  /** What clients may read while it lasts, besides `healthy`; nothing when they must not notice. */
  readonly explains: readonly Reason[]
}

export interface Recording {
  readonly exchanges: readonly Exchange[]
  readonly statements: readonly SeenStatement[]
  readonly connections: readonly SeenConnection[]
  readonly faults: readonly Fault[]
  /** When the program or the recorder did not run: nothing can be in time then. */
  readonly pauses: readonly Interval[]
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  /** Times in which a healthy answer is wrong; they have no overlap with a query of a session that fits. */
  readonly unfit?: readonly Interval[]
  /** How many hosts one attempt may connect to: 1 unless given. */
  readonly hosts?: number
  /** What a check may ask: SELECT 1 alone unless given. */
  readonly queries?: readonly string[]
  /** The value that a query must have returned within the exchange, by answer: `healthy` needs a 1 unless given. */
  readonly needs?: Readonly<Record<string, string>>
}

export interface Objection {
  /** The promise that was broken. */
  readonly promise: string
  readonly because: string
  /** The recorded facts. */
  readonly seen: object
}

/** How late a busy machine may be (milliseconds). The real lateness is reported. */
export const lagMs = 300
/** The program's attempts to connect are this far apart (milliseconds). */
export const attemptSpacingMs = 100
/** Two connections, or statements, may seem to overlap this long: an end and a beginning are seen in one turn. */
const turnMs = 5
/** Clients that are served without the database. */
const pathsWithoutDatabase = ['/livez']

/** How late the answer was, without the pauses (milliseconds); negative when it was in time. */
export function latenessOf(exchange: Exchange, { pauses, timeoutMs }: Recording): number {
  const { sentAt, answeredAt } = exchange
  return answeredAt - sentAt - timeoutMs - sharedMs(pauses, { from: sentAt, until: answeredAt })
}

/** All broken promises; empty when every one was kept. */
export function judge(recording: Recording): Objection[] {
  const isFresh = freshnessOf(recording)
  return [
    ...recording.exchanges.flatMap(exchange => judgeExchange(exchange, recording, isFresh)),
    ...judgeStatements(recording),
    ...judgeConnections(recording),
  ]
}

function judgeExchange(
  exchange: Exchange,
  recording: Recording,
  isFresh: (exchange: Exchange) => boolean,
): Objection[] {
  const { answer, path } = exchange
  const found: Objection[] = []
  const object = (promise: string, because: string) => found.push({ promise, because, seen: exchange })
  const lateMs = latenessOf(exchange, recording)
  if (lateMs > lagMs) object('in time', `answered ${Math.round(lateMs)} ms after the deadline`)

  if (pathsWithoutDatabase.includes(path)) {
    if (answer !== 'alive') object('alive', 'the process can answer, whatever the database does')
  } else if (answer === 'healthy') {
    if (recording.unfit?.some(({ from, until }) => from <= exchange.sentAt && exchange.answeredAt <= until)) {
      object('fit', 'no server took writes at any moment of the exchange')
    }
  } else if (!isReason(answer)) {
    object('said', 'no answer that this program gives')
  } else if (!isExplained(answer, exchange, recording)) {
    object('healed', 'no fault that says this overlapped the exchange')
  }
  if (!isFresh(exchange)) object('fresh', 'no statement that returned this began and was answered within it')
  return found
}

/**
 * Whether a query that returned what the answer needs began and was answered within an exchange; made once, asked for
 * each. An answer that needs nothing is fresh.
 */
function freshnessOf({ statements, needs = { healthy: '1' } }: Recording): (exchange: Exchange) => boolean {
  const answered = statements.filter(({ answered }) => answered).toSorted(byBeginning)
  const proofs = new Map(
    Object.entries(needs).map(([answer, needed]) => [
      answer,
      withinOf(answered.filter(({ value }) => value === needed)),
    ]),
  )
  return exchange => proofs.get(exchange.answer)?.(exchange) ?? true
}

/** Whether any of these, which are in the order of their beginnings, began and ended within an exchange. */
function withinOf(statements: readonly SeenStatement[]): (exchange: Exchange) => boolean {
  // For each query, the earliest end among it and all that began later.
  const ends: number[] = []
  let earliest = Number.POSITIVE_INFINITY
  for (const { endedAt = Number.POSITIVE_INFINITY } of statements.toReversed()) {
    earliest = Math.min(earliest, endedAt)
    ends.push(earliest)
  }
  ends.reverse()
  return ({ sentAt, answeredAt }) => {
    let low = 0
    let high = statements.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((statements[middle]?.beganAt ?? 0) < sentAt) low = middle + 1
      else high = middle
    }
    return (ends[low] ?? Number.POSITIVE_INFINITY) <= answeredAt
  }
}

function isExplained(reason: Reason, exchange: Exchange, recording: Recording): boolean {
  const { sentAt: from, answeredAt: until } = exchange
  if (recording.faults.some(fault => fault.explains.includes(reason) && overlap(fault, { from, until })))
    return true
  // A request to a machine that does not run may find its time used up.
  const paused = sharedMs(recording.pauses, { from, until }) >= recording.timeoutMs / 4
  if (paused && isExpiry(reason)) return true
  return isExpiry(reason) && waitsOnLogin(exchange, recording)
}

/**
 * The documented exception: a login that a fault delayed or swallowed is waited for until it succeeds or times out, so
 * that a slow network is not reported as down for ever. A request that has half its time left after that is healthy.
 */
function waitsOnLogin({ sentAt, answeredAt }: Exchange, recording: Recording): boolean {
  const { connections, faults, statements, timeoutMs, connectTimeoutMs } = recording
  return connections.some(({ openedAt, closedAt = Number.POSITIVE_INFINITY }, index) => {
    if (openedAt > answeredAt || openedAt + connectTimeoutMs + lagMs < sentAt) return false
    const first = statements.find(({ connection, answered }) => connection === index && answered)
    const until = first?.endedAt ?? closedAt
    const heldUp = faults.some(fault => overlap(fault, { from: openedAt, until }))
    return heldUp && until > sentAt + timeoutMs / 2
  })
}

function judgeStatements({ statements, connections, queries = [checkQuery] }: Recording): Objection[] {
  const found: Objection[] = []
  for (const seen of statements) {
    if (!queries.includes(seen.text)) found.push({ promise: 'said', because: 'not what a check asks', seen })
  }
  const intervals = statements.map(seen => ({
    from: seen.beganAt,
    until: seen.endedAt ?? connections[seen.connection]?.closedAt ?? Number.POSITIVE_INFINITY,
    seen,
  }))
  return [...found, ...judgeOverlaps(intervals, 'two statements were open at once')]
}

function judgeConnections(recording: Recording): Objection[] {
  const { connections, statements, pauses, connectTimeoutMs, hosts = 1 } = recording
  const intervals = connections.map(seen => ({
    from: seen.openedAt,
    until: seen.closedAt ?? Number.POSITIVE_INFINITY,
    seen,
  }))
  const found = judgeOverlaps(intervals, 'two connections were open at once')
  const warmed = new Set(statements.filter(({ answered }) => answered).map(({ connection }) => connection))
  for (const [index, { from, until, seen }] of intervals.entries()) {
    const openMs = until - from - sharedMs(pauses, { from, until })
    if (!warmed.has(index) && until < Number.POSITIVE_INFINITY && openMs > connectTimeoutMs + lagMs) {
      found.push({ promise: 'in time', because: `an attempt to connect took ${Math.round(openMs)} ms`, seen })
    }
    // Of so many connections the first cannot belong to the attempt of the last, nor to the end of the one before.
    const previous = intervals[index - (2 * hosts - 1)]
    if (!previous) continue
    const apartMs = from - previous.from
    // A recorder that did not run in between saw the first one late.
    const unseenMs = sharedMs(pauses, { from: previous.from - lagMs, until: from })
    if (apartMs + unseenMs < attemptSpacingMs - paceSlackMs) {
      const because = `an attempt to connect ${Math.round(apartMs)} ms after the one before`
      found.push({ promise: 'at a measured pace', because, seen })
    }
  }
  return found
}

/**
 * The program keeps the pace, but on a busy machine the proxy may see one attempt late and the next one not (measured:
 * once in 2,322 connections, by 45 ms, beside a whole run of the tests).
 */
const paceSlackMs = 60

function judgeOverlaps(intervals: readonly (Interval & { seen: object })[], because: string): Objection[] {
  const found: Objection[] = []
  let latest: (Interval & { seen: object }) | undefined
  for (const interval of intervals.toSorted((one, other) => one.from - other.from)) {
    if (latest && interval.from < latest.until - turnMs) {
      found.push({ promise: 'one at a time', because, seen: { first: latest.seen, second: interval.seen } })
    }
    if (!latest || interval.until > latest.until) latest = interval
  }
  return found
}

function byBeginning(one: SeenStatement, other: SeenStatement): number {
  return one.beganAt - other.beganAt
}

function overlap(one: Interval, other: Interval): boolean {
  return one.from <= other.until && other.from <= one.until
}

/** How much of `whole` lies in `parts`, which may overlap each other: never more than all of it. */
function sharedMs(parts: readonly Interval[], { from, until }: Interval): number {
  let sum = 0
  for (const part of parts) sum += Math.max(0, Math.min(part.until, until) - Math.max(part.from, from))
  return Math.min(sum, until - from)
}

function isReason(answer: string): answer is Reason {
  return Object.hasOwn(sentences, answer)
}

function isExpiry(reason: Reason): boolean {
  return reason === 'timeout' || reason === 'connect_timeout'
}
