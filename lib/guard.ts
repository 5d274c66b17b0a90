// Reads the server's messages before the driver does, and stops what the driver would not survive.
//
// postgres.js 3.4.9 believes its peer. Measured, each with a few bytes: a COPY response (the greeting of a
// MariaDB can look like one) ends the process, a row description without a terminator or a SCRAM iteration
// count of 2,000,000,000 stops the event loop for ever, a length of 2 GiB or a flood of messages fills memory,
// a row that nobody asked for answers the next statement.
import { failure } from './failure.ts'

export interface Guard {
  /** Call it for every statement: from now on one more answer may come. */
  expectAnswer(): void
  /** Reads what came from the server; says what is wrong with it, or undefined. */
  read(chunk: Buffer): Error | undefined
  /** The server's last words, if it ended the session with some: the driver says CONNECTION_CLOSED instead. */
  fatal(): Error | undefined
}

/** What a health check is answered has some hundred bytes, an error with its context a few thousand. */
const maxMessageBytes = 16 * 1024
/** Messages between two statements: a start-up has about 20. */
const maxMessages = 1_000
/** PostgreSQL's default is 4,096; the driver computes them in one go, 100,000 in about 50 ms. */
const maxScramIterations = 100_000

/** Makes the guard of one session, from its first message on. */
export function createGuard(): Guard {
  let rest: Buffer = Buffer.alloc(0)
  let messages = 0
  // The start-up's own.
  let answersExpected = 1
  let lastWords: Error | undefined
  return { expectAnswer, read, fatal: () => lastWords }

  function expectAnswer() {
    answersExpected += 1
    messages = 0
  }

  function read(chunk: Buffer): Error | undefined {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length > 0) {
      // Before its length is there: what is no PostgreSQL shows in the first byte.
      if (!isKnown(rest)) return violation
      if (rest.length < 5) return undefined
      const length = rest.readUInt32BE(1)
      messages += 1
      if (length < 4 || length > maxMessageBytes || messages > maxMessages) return violation
      if (rest.length <= length) {
        // Counted again when it is whole.
        messages -= 1
        return undefined
      }
      const wrong = judge(typeOf(rest), rest.subarray(5, length + 1))
      if (wrong) return wrong
      rest = rest.subarray(length + 1)
    }
    return undefined
  }

  function judge(type: string, body: Buffer): Error | undefined {
    if (type === 'E') lastWords ??= fatalOf(body)
    if (type === 'R') return judgeAuthentication(body)
    if (type === 'T' && !isOneColumn(body)) return violation
    if (!'TDCZ'.includes(type)) return undefined
    if (answersExpected === 0) return violation
    if (type === 'Z') answersExpected -= 1
    return undefined
  }
}

/** SQLSTATE for a protocol violation. */
const violation = failure('08P01')

/**
 * Authentication, ParameterStatus, BackendKeyData, ReadyForQuery, RowDescription, DataRow, CommandComplete,
 * ErrorResponse, NoticeResponse, NotificationResponse, NegotiateProtocolVersion: all that can come when all
 * that is asked is SELECT 1.
 */
const knownTypes = 'RSKZTDCENAv'

function typeOf(message: Buffer): string {
  return String.fromCharCode(message[0] ?? 0)
}

function isKnown(message: Buffer): boolean {
  return knownTypes.includes(typeOf(message))
}

/** The driver looks for the NUL behind a column's name without looking at the end. */
function isOneColumn(body: Buffer): boolean {
  return body.length >= 2 && body.readUInt16BE(0) === 1 && body.indexOf(0, 2) === body.length - 19
}

/** Ok, clear text, MD5, SASL and its two steps; the driver ignores the others, and waits. */
function judgeAuthentication(body: Buffer): Error | undefined {
  if (body.length < 4) return violation
  const type = body.readUInt32BE(0)
  if (type === 11) {
    const iterations = Number(/(?:^|,)i=(\d{1,9})$/.exec(body.toString('utf8', 4))?.[1])
    return iterations <= maxScramIterations ? undefined : violation
  }
  // GSSAPI and its like: a method that we do not have.
  return [0, 3, 5, 10, 12].includes(type) ? undefined : failure('28000')
}

/** Fields, each a letter and a text that ends with NUL: V or S the severity, C the code, M the message. */
function fatalOf(body: Buffer): Error | undefined {
  const fields = body.toString('utf8').split('\0')
  const field = (letter: string) => fields.find(text => text.startsWith(letter))?.slice(1)
  const severity = field('V') ?? field('S')
  return severity === 'FATAL' || severity === 'PANIC' ? failure(field('C') ?? '', field('M')) : undefined
}
