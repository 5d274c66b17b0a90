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
  let step = 0
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
    if (type === 'D' && !isOneValue(body)) return violation
    if (!'TDCZ'.includes(type)) return undefined
    if (answersExpected === 0) return violation
    if (type === 'Z') answersExpected -= 1
    return undefined
  }

  function judgeAuthentication(body: Buffer): Error | undefined {
    if (body.length < 4) return violation
    const before = step
    step = body.readUInt32BE(0)
    const shape = steps[step]
    // GSSAPI and its like: a method that we do not have.
    if (shape === undefined) return refusal
    if (step === 10) return body.includes('SCRAM-SHA-256\0', 4) ? undefined : refusal
    // Who lets us in without its signature may not know the password.
    if (step === 0 && (before === 10 || before === 11)) return refusal
    if (step > 10 && before !== step - 1) return violation
    const found = shape.exec(body.toString('latin1', 4))
    return found !== null && Number(found[1] ?? 0) <= maxScramIterations ? undefined : violation
  }
}

/** SQLSTATE for a protocol violation. */
const violation = failure('08P01')
/** … and for an authentication that cannot be. */
const refusal = failure('28000')

/**
 * Ok, clear text, MD5 with its salt, SASL and its two steps, the first of which names its iterations. What has
 * another shape escapes the driver as a rejection that nobody holds, or leaves it waiting.
 */
const steps: Readonly<Record<number, RegExp>> = {
  0: /^$/,
  3: /^$/,
  5: /^[\s\S]{4}$/,
  10: /./,
  11: /^r=[^,]+,s=[A-Za-z0-9+/]+=*,i=([1-9]\d{0,8})$/,
  12: /^v=/,
}

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

/** NULL, whose length is -1, or as many bytes as it says; the driver takes what is there. */
function isOneValue(body: Buffer): boolean {
  if (body.length < 6 || body.readUInt16BE(0) !== 1) return false
  const length = body.readInt32BE(2)
  return length === body.length - 6 || (length === -1 && body.length === 6)
}

/** Fields, each a letter and a text that ends with NUL: V or S the severity, C the code, M the message. */
function fatalOf(body: Buffer): Error | undefined {
  const fields = body.toString('utf8').split('\0')
  const field = (letter: string) => fields.find(text => text.startsWith(letter))?.slice(1)
  const severity = field('V') ?? field('S')
  return severity === 'FATAL' || severity === 'PANIC' ? failure(field('C') ?? '', field('M')) : undefined
}
