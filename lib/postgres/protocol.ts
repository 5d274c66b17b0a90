// Parses every message from the server before the driver sees it, and rejects the dangerous ones.
//
// postgres.js 3.4.9 trusts its peer. Measured, each with a few bytes: a COPY response (MariaDB's greeting can look like
// one) ends the process; a RowDescription without a terminator or 2,000,000,000 SCRAM iterations block the event loop
// forever; a length of 2 GiB or a flood of messages fills memory; an unrequested row answers the next query.
import type { Socket } from 'node:net'
import { codedError } from '../error.ts'

export interface ProtocolGuard {
  /** Allows the server to answer one more query. Call it before each query. */
  expectResult(): void
  /** Reads what came from the server. Returns what is wrong with it, or undefined. */
  read(chunk: Buffer): Error | undefined
  /** Whether the server asks for the password by SCRAM. */
  usesScram(): boolean
  /** The FATAL error with which the server ended the session, if it sent one: the driver loses it. */
  fatal(): Error | undefined
}

/** The answer to a health check has some hundred bytes; an error with its context a few thousand. */
const maxMessageBytes = 16 * 1024
/** Messages between two queries. A start-up has about 20. */
const maxMessages = 1_000
/** PostgreSQL's default is 4,096. The driver computes them in one go: 100,000 take about 50 ms. */
const maxScramIterations = 100_000
/** A message starts with its type (1 byte) and its length (4 bytes), which counts itself but not the type. */
const headerBytes = 5

/**
 * Authentication, ParameterStatus, BackendKeyData, ReadyForQuery, RowDescription, DataRow, CommandComplete,
 * ErrorResponse, NoticeResponse, NotificationResponse, NegotiateProtocolVersion. A server that is only asked SELECT 1
 * sends no other.
 */
const knownTypes = 'RSKZTDCENAv'

/** Makes the guard of one session. It must see every byte from the first message on. */
export function createProtocolGuard(): ProtocolGuard {
  let rest: Buffer = Buffer.alloc(0)
  let messages = 0
  // The start-up ends with a ReadyForQuery of its own.
  let resultsExpected = 1
  /** A RowDescription has come, and its CommandComplete has not. */
  let inResult = false
  /** A DataRow has come, and its CommandComplete has not. */
  let hasRow = false
  let fatal: Error | undefined
  const authentication = createAuthenticationGuard()
  return { expectResult, read, usesScram: authentication.usesScram, fatal: () => fatal }

  function expectResult() {
    resultsExpected += 1
    messages = 0
  }

  function read(chunk: Buffer): Error | undefined {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    while (at < bytes.length) {
      const type = String.fromCharCode(bytes[at] ?? 0)
      // Checked before the length has arrived: a peer that is not PostgreSQL shows in its first byte.
      if (!knownTypes.includes(type)) return violation()
      if (bytes.length < at + headerBytes) break
      const length = bytes.readUInt32BE(at + 1)
      if (length < 4 || length > maxMessageBytes || messages === maxMessages) return violation()
      const end = at + 1 + length
      if (bytes.length < end) break
      messages += 1
      const fault = take(type, bytes.subarray(at + headerBytes, end))
      if (fault) return fault
      at = end
    }
    rest = bytes.subarray(at)
    return undefined
  }

  /** Takes one message. Returns what is wrong with it, or undefined. */
  function take(type: string, body: Buffer): Error | undefined {
    if (type === 'R') return authentication.take(body)
    if (type === 'E') {
      const { isFatal, error } = readError(body)
      if (isFatal) fatal ??= error
      // The driver would put the row into the result of the next query.
      if (hasRow) return error
      inResult = false
    }
    if (!'TDCZ'.includes(type)) return undefined
    if (resultsExpected === 0 || !isAllowed(type, body)) return violation()
    if (type === 'T') inResult = true
    if (type === 'C') inResult = false
    if (type === 'D' || type === 'C') hasRow = type === 'D'
    if (type === 'Z') resultsExpected -= 1
    return undefined
  }

  /** A result is RowDescription, DataRows, CommandComplete; then comes another result, or ReadyForQuery. */
  function isAllowed(type: string, body: Buffer): boolean {
    if (type === 'T') return !inResult && isOneColumn(body)
    if (type === 'D') return inResult && isOneValue(body)
    return type === 'C' || !inResult
  }
}

/** Passes each chunk to the guard before anything else reads it. The `data` event is too late: the driver has it, too. */
export function guardSocket(socket: Socket, guard: ProtocolGuard) {
  // PostgreSQL does not speak first.
  if (socket.readableLength > 0) socket.destroy(violation())
  const push = socket.push
  socket.push = (chunk, ...rest) => {
    // Null is the end of the stream.
    const fault = chunk === null ? undefined : guard.read(chunk)
    if (fault === undefined) return push.call(socket, chunk, ...rest)
    socket.destroy(fault)
    return false
  }
}

/** Checks the messages of a login against the login's own order. Made for one session. */
function createAuthenticationGuard() {
  /** The last message. Undefined before the first. */
  let step: number | undefined
  return { take, usesScram: () => step === sasl || step === saslContinue }

  /** Takes one message. Returns what is wrong with it, or undefined. */
  function take(body: Buffer): Error | undefined {
    if (body.length < 4) return violation()
    const before = step
    step = body.readUInt32BE(0)
    const shape = authenticationShapes[step]
    // GSSAPI, SSPI and others: the driver does not have them.
    if (shape === undefined) return refusal()
    // The login is over.
    if (before === authenticationOk) return violation()
    // A second SCRAM would make the driver compute the iterations again: a hundred of them blocked it for 2.5 s.
    if (step === sasl && before !== undefined) return violation()
    if (step === sasl) return body.includes('SCRAM-SHA-256\0', 4) ? undefined : refusal()
    // A server that accepts us without sending its SCRAM signature may not know the password.
    if (step === authenticationOk && (before === sasl || before === saslContinue)) return refusal()
    if (step > sasl && before !== step - 1) return violation()
    const found = shape.exec(body.toString('latin1', 4))
    return found !== null && Number(found[1] ?? 0) <= maxScramIterations ? undefined : violation()
  }
}

const authenticationOk = 0
const sasl = 10
const saslContinue = 11

/**
 * What follows the code of an Authentication message: nothing for Ok and cleartext, a salt for MD5, the mechanisms for
 * SASL, the iterations for SASLContinue, the signature for SASLFinal. In another shape it escapes the driver as a
 * rejection that nothing handles, or leaves the driver waiting.
 */
const authenticationShapes: Readonly<Record<number, RegExp>> = {
  [authenticationOk]: /^$/,
  3: /^$/,
  5: /^[\s\S]{4}$/,
  [sasl]: /./,
  [saslContinue]: /^r=[^,]+,s=[A-Za-z0-9+/]+=*,i=([1-9]\d{0,8})$/,
  12: /^v=/,
}

/** SQLSTATE protocol_violation. */
function violation(): Error {
  return codedError('08P01')
}

/** SQLSTATE invalid_authorization_specification. */
function refusal(): Error {
  return codedError('28000')
}

/** RowDescription ends, behind the column's name and its NUL: table 4, column 2, type 4, size 2, modifier 4, format 2. */
const fixedColumnBytes = 18

/** The driver searches for the NUL behind the column's name without looking at the end of the message. */
function isOneColumn(body: Buffer): boolean {
  return (
    body.length >= 2 &&
    body.readUInt16BE(0) === 1 &&
    body.indexOf(0, 2) === body.length - fixedColumnBytes - 1
  )
}

/** A DataRow is: count of values 2, length 4 (-1 for NULL), the value. The driver does not check the length. */
function isOneValue(body: Buffer): boolean {
  if (body.length < 6 || body.readUInt16BE(0) !== 1) return false
  const length = body.readInt32BE(2)
  return length === body.length - 6 || (length === -1 && body.length === 6)
}

/** Fields, each a letter and a text that ends with NUL: V or S the severity, C the code, M the message. */
function readError(body: Buffer) {
  const fields = body.toString('utf8').split('\0')
  const field = (letter: string) => fields.find(text => text.startsWith(letter))?.slice(1)
  const severity = field('V') ?? field('S')
  return {
    isFatal: severity === 'FATAL' || severity === 'PANIC',
    error: codedError(field('C') ?? '', field('M')),
  }
}
