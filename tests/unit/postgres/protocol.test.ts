// What a peer may say, what would have been the end of the process, and what counts as the answer to SELECT 1.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codeOf } from '../../../lib/error.ts'

import { createProtocolGuard, type Outcome } from '../../../lib/postgres/protocol.ts'
import { authentication, error, fatal, message, ready, row, welcome } from '../../support/peer.ts'

const scramOffered = authentication(10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0')

function scram(iterations: string): Buffer {
  return Buffer.concat([scramOffered, authentication(11, `r=nonce,s=salt,i=${iterations}`)])
}

const allowed: [what: string, bytes: Buffer][] = [
  ['a start-up and an answer', Buffer.concat([welcome, row('1')])],
  ['every step of SCRAM', Buffer.concat([scram('4096'), authentication(12, 'v=x'), authentication(0)])],
  ['MD5 and a password in clear text', Buffer.concat([authentication(5, 'sa\nt'), authentication(3)])],
  [
    'a row without a value',
    Buffer.concat([row('1').subarray(0, 34), message('D', Buffer.from([0, 1, 255, 255, 255, 255]))]),
  ],
  [
    'what else comes at a start',
    Buffer.concat(['S', 'K', 'N', 'v'].map(type => message(type, Buffer.alloc(8)))),
  ],
  ['an error instead of an answer', Buffer.concat([welcome, error('57014', 'canceled')])],
  ['999 notices', Buffer.concat(Array.from({ length: 999 }, () => message('N', Buffer.from('\0'))))],
]

for (const [what, bytes] of allowed) {
  test(`createProtocolGuard() lets ${what} pass, however it is cut`, () => {
    for (const size of [1, 2, 5, 7, bytes.length]) {
      const guard = createProtocolGuard()
      guard.expectAnswer()
      for (let at = 0; at < bytes.length; at += size) {
        assert.equal(guard.read(bytes.subarray(at, at + size)), undefined, `byte ${at}, cut by ${size}`)
      }
    }
  })
}

const refused: [what: string, bytes: Buffer, code?: string][] = [
  ['zeros', Buffer.alloc(64)],
  ['0xFF', Buffer.alloc(64, 0xff)],
  ['a web server', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  [
    'the greeting of a MariaDB',
    Buffer.concat([Buffer.from([0x57, 0, 0, 0, 10]), Buffer.from('11.4.10-MariaDB-log')]),
  ],
  ['COPY in, out and both', message('G', Buffer.alloc(3))],
  ['COPY out', message('H', Buffer.alloc(3))],
  ['COPY both', message('W', Buffer.alloc(3))],
  ['a message of 2 GiB', Buffer.from([0x44, 0x7f, 0xff, 0xff, 0xff])],
  ['a message shorter than its length', Buffer.from([0x53, 0, 0, 0, 3])],
  ['a row description without a terminator', message('T', Buffer.from([0, 1, ...Buffer.alloc(30, 0x61)]))],
  ['a row description of many columns', message('T', Buffer.from([0, 9, ...Buffer.alloc(30)]))],
  ['two thousand million SCRAM iterations', scram('2000000000')],
  ['SCRAM iterations that are no number', scram('x')],
  ['an authentication message without a type', message('R', Buffer.alloc(2))],
  ['SCRAM without iterations', scram('0')],
  ['SCRAM that goes on before it began', authentication(11, 'r=nonce,s=salt,i=4096')],
  ['SCRAM that ends too soon', Buffer.concat([scramOffered, authentication(12, 'v=x')])],
  ['SCRAM without a signature', Buffer.concat([scram('4096'), authentication(0)]), '28000'],
  ['SASL without SCRAM', authentication(10, 'OAUTHBEARER\0\0'), '28000'],
  ['MD5 without its salt', authentication(5)],
  ['GSSAPI', authentication(7), '28000'],
  ['a row that is longer than its message', message('D', Buffer.from([0, 1, 0, 0, 1, 0, 49]))],
  ['a flood of notices', Buffer.concat(Array.from({ length: 1_001 }, () => message('N', Buffer.from('\0'))))],
  ['an answer that nobody asked for', Buffer.concat([welcome, row('1'), row('1')])],
  ['readiness that nobody waits for', Buffer.concat([welcome, row('1'), ready])],
]

for (const [what, bytes, code = '08P01'] of refused) {
  test(`createProtocolGuard() stops ${what}`, () => {
    const guard = createProtocolGuard()
    guard.expectAnswer()
    assert.equal(codeOf(guard.read(bytes)), code)
  })
}

test('createProtocolGuard() allows one more answer for every statement', () => {
  const guard = createProtocolGuard()
  assert.equal(guard.read(welcome), undefined)
  for (let statement = 0; statement < 2_000; statement += 1) {
    guard.expectAnswer()
    assert.equal(guard.read(row('1')), undefined)
  }
  assert.equal(codeOf(guard.read(row('1'))), '08P01')
})

test('createProtocolGuard() keeps the last words of a server, and no error that a session survives', () => {
  const guard = createProtocolGuard()
  guard.expectAnswer()
  guard.read(Buffer.concat([welcome, error('57014', 'canceled')]))
  assert.equal(guard.fatal(), undefined)
  guard.read(Buffer.concat([message('N', Buffer.from('\0')), fatal('57P01', 'bye')]))
  assert.equal(codeOf(guard.fatal()), '57P01')
  assert.equal(guard.fatal()?.message, 'bye')
})

const answers: [what: string, bytes: Buffer, answer: Outcome | string][] = [
  ['1', row('1').subarray(0, -6), { isOne: true }],
  ['2', row('2').subarray(0, -6), { isOne: false }],
  ['01', row('01').subarray(0, -6), { isOne: false }],
  ['a text "1"', asText(row('1').subarray(0, -6)), { isOne: false }],
  ['nothing', message('C', Buffer.from('SELECT 0\0')), { isOne: false }],
  ['a row that nobody described', row('1').subarray(34, -6), { isOne: false }],
  ['two rows', Buffer.concat([row('1').subarray(0, 46), row('1').subarray(34, -6)]), { isOne: false }],
  ['two results', Buffer.concat([row('1').subarray(0, -6), row('1').subarray(0, 34)]), { isOne: false }],
  ['1, which does not end', row('1').subarray(0, 46), { isOne: false }],
  [
    'its parts in another order',
    Buffer.concat([row('1').subarray(34, 46), row('1').subarray(0, 34), row('1').subarray(46, -6)]),
    { isOne: false },
  ],
  ['an error', error('57014', 'canceled').subarray(0, -6), '57014'],
  ['1, and then an error', Buffer.concat([row('1').subarray(0, -6), fatal('57P01', 'bye')]), '57P01'],
]

for (const [what, bytes, expected] of answers) {
  test(`createProtocolGuard() knows the answer, ${what}, when the server is ready, however it is cut, and forgets it`, () => {
    for (const size of [1, 2, 5, 7, bytes.length]) {
      const guard = createProtocolGuard()
      guard.read(welcome)
      guard.expectAnswer()
      for (let at = 0; at < bytes.length; at += size) {
        assert.equal(guard.read(bytes.subarray(at, at + size)), undefined)
        assert.equal(guard.answer(), undefined)
      }
      guard.read(ready)
      const answer = guard.answer()
      assert.deepEqual(answer && 'error' in answer ? codeOf(answer.error) : answer, expected)
      guard.expectAnswer()
      assert.equal(guard.answer(), undefined)
      guard.read(row('1'))
      assert.deepEqual(guard.answer(), { isOne: true })
      guard.expectAnswer()
      guard.read(ready)
      assert.deepEqual(guard.answer(), { isOne: false })
    }
  })
}

/** The same answer with the type of a text. */
function asText(answer: Buffer): Buffer {
  const changed = Buffer.from(answer)
  changed.writeUInt32BE(25, 22)
  return changed
}
