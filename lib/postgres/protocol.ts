// Reads all that the server says, first: what must be stopped, what SELECT 1 was answered.
//
// postgres.js 3.4.9 believes its peer. Measured, each with a few bytes: a COPY response (the greeting of a
// MariaDB can look like one) ends the process, a row description without a terminator or a SCRAM iteration
// count of 2,000,000,000 stops the event loop for ever, a length of 2 GiB or a flood of messages fills memory,
// a row that nobody asked for answers the statement that comes after it.
import { codedError } from '../error.ts'

export interface ProtocolGuard {
  /** Call it for every statement: the last answer is forgotten, one more may come. */
  expectAnswer(): void
  /** Reads what came from the server; says what is wrong with it, or undefined. */
  read(chunk: Buffer): Error | undefined
  /** What the statement was answered, once the server is ready for the next. */
  answer(): Outcome | undefined
  /** Whether the server asks for the password by SCRAM. */
  usesScram(): boolean
  /** The server's last words, if it ended the session with some. */
  fatal(): Error | undefined
}

/** An error, or whether it was one row with the integer 1. */
export type Outcome = { readonly error: Error } | { readonly isOne: boolean }

/** What a health check is answered has some hundred bytes, an error with its context a few thousand. */
const maxMessageBytes = 16 * 1024
/** Messages between two statements: a start-up has about 20. */
const maxMessages = 1_000
/** PostgreSQL's default is 4,096; the driver computes them in one go, 100,000 in about 50 ms. */
const maxScramIterations = 100_000

/** Makes the guard of one session, from its first message on. */
export function createProtocolGuard(): ProtocolGuard {
  let rest: Buffer = Buffer.alloc(0)
  let messages = 0
  // The start-up's own.
  let answersExpected = 1
  let lastWords: Error | undefined
  let step = 0
  let answer: Outcome | undefined
  // Of the answer while it comes in: its messages' types in their order, what they say.
  let shape = ''
  let error: Error | undefined
  let isInteger = false
  let isOne = false
  return {
    expectAnswer,
    read,
    answer: () => answer,
    usesScram: () => step === 10 || step === 11,
    fatal: () => lastWords,
  }

  function expectAnswer() {
    answersExpected += 1
    messages = 0
    answer = undefined
    shape = ''
    error = undefined
  }

  function read(chunk: Buffer): Error | undefined {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    while (at < bytes.length) {
      const type = String.fromCharCode(bytes[at] ?? 0)
      // Before its length is there: what is no PostgreSQL shows in the first byte.
      if (!knownTypes.includes(type)) return violation
      if (bytes.length < at + 5) break
      const length = bytes.readUInt32BE(at + 1)
      if (length < 4 || length > maxMessageBytes || messages === maxMessages) return violation
      const end = at + 1 + length
      if (bytes.length < end) break
      messages += 1
      const wrong = judge(type, bytes.subarray(at + 5, end))
      if (wrong) return wrong
      at = end
    }
    rest = bytes.subarray(at)
    return undefined
  }

  function judge(type: string, body: Buffer): Error | undefined {
    if (type === 'E') {
      const complaint = complaintOf(body)
      error ??= complaint.error
      if (complaint.isFatal) lastWords ??= complaint.error
    }
    if (type === 'R') return judgeAuthentication(body)
    if (type === 'T' && !isOneColumn(body)) return violation
    if (type === 'D' && !isOneValue(body)) return violation
    if (!'TDCZ'.includes(type)) return undefined
    if (answersExpected === 0) return violation
    if (type === 'T') isInteger = body.readUInt32BE(body.length - 12) === integerType
    if (type === 'D') isOne = body.equals(one)
    if (type === 'Z') {
      answersExpected -= 1
      answer = error ? { error } : { isOne: shape === 'TDC' && isInteger && isOne }
    } else shape += type
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
const violation = codedError('08P01')
/** … and for an authentication that cannot be. */
const refusal = codedError('28000')

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

/** The driver looks for the NUL behind a column's name without looking at the end. */
function isOneColumn(body: Buffer): boolean {
  return body.length >= 2 && body.readUInt16BE(0) === 1 && body.indexOf(0, 2) === body.length - 19
}

/** The number that PostgreSQL has for the type `integer`. */
const integerType = 23
/** The row of SELECT 1: one value, of one byte, "1". */
const one = Buffer.from([0, 1, 0, 0, 0, 1, 0x31])

/** NULL, whose length is -1, or as many bytes as it says; the driver takes what is there. */
function isOneValue(body: Buffer): boolean {
  if (body.length < 6 || body.readUInt16BE(0) !== 1) return false
  const length = body.readInt32BE(2)
  return length === body.length - 6 || (length === -1 && body.length === 6)
}

/** Fields, each a letter and a text that ends with NUL: V or S the severity, C the code, M the message. */
function complaintOf(body: Buffer) {
  const fields = body.toString('utf8').split('\0')
  const field = (letter: string) => fields.find(text => text.startsWith(letter))?.slice(1)
  const severity = field('V') ?? field('S')
  return {
    isFatal: severity === 'FATAL' || severity === 'PANIC',
    error: codedError(field('C') ?? '', field('M')),
  }
}
