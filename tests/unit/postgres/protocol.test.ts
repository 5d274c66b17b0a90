// Which messages of a server reach the driver, and which end the session.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codeOf } from '../../../lib/error.ts'

import { createProtocolGuard } from '../../../lib/postgres/protocol.ts'
import { authentication, error, fatal, message, ready, row, welcome } from '../../support/peer.ts'

const scramOffered = authentication(10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0')

function scram(iterations: string): Buffer {
  return Buffer.concat([scramOffered, authentication(11, `r=nonce,s=salt,i=${iterations}`)])
}

const allowed: [what: string, bytes: Buffer][] = [
  ['a start-up and a result', Buffer.concat([welcome, row('1')])],
  ['every step of SCRAM', Buffer.concat([scram('4096'), authentication(12, 'v=x'), authentication(0)])],
  ['MD5 and cleartext passwords', Buffer.concat([authentication(5, 'sa\nt'), authentication(3)])],
  [
    'a row with NULL',
    Buffer.concat([row('1').subarray(0, 34), message('D', Buffer.from([0, 1, 255, 255, 255, 255]))]),
  ],
  [
    'what else a start-up may contain',
    Buffer.concat(['S', 'K', 'N', 'v'].map(type => message(type, Buffer.alloc(8)))),
  ],
  ['an error instead of a result', Buffer.concat([welcome, error('57014', 'canceled')])],
  ['an error behind a description', Buffer.concat([row('1').subarray(0, 34), error('57014', 'canceled')])],
  ['two results', Buffer.concat([welcome, row('1').subarray(0, -6), row('1')])],
  ['999 notices', Buffer.concat(Array.from({ length: 999 }, () => message('N', Buffer.from('\0'))))],
]

for (const [what, bytes] of allowed) {
  test(`createProtocolGuard() accepts ${what}, in chunks of any size`, () => {
    for (const size of [1, 2, 5, 7, bytes.length]) {
      const guard = createProtocolGuard()
      guard.expectResult()
      for (let at = 0; at < bytes.length; at += size) {
        assert.equal(guard.read(bytes.subarray(at, at + size)), undefined, `byte ${at}, cut by ${size}`)
      }
    }
  })
}

const refused: [what: string, bytes: Buffer, code?: string][] = [
  ['zero bytes', Buffer.alloc(64)],
  ['0xFF bytes', Buffer.alloc(64, 0xff)],
  ['a web server', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  [
    "MariaDB's greeting",
    Buffer.concat([Buffer.from([0x57, 0, 0, 0, 10]), Buffer.from('11.4.10-MariaDB-log')]),
  ],
  ['COPY in', message('G', Buffer.alloc(3))],
  ['COPY out', message('H', Buffer.alloc(3))],
  ['COPY both', message('W', Buffer.alloc(3))],
  ['a message of 2 GiB', Buffer.from([0x44, 0x7f, 0xff, 0xff, 0xff])],
  ['a length below 4', Buffer.from([0x53, 0, 0, 0, 3])],
  ['a row description without a terminator', message('T', Buffer.from([0, 1, ...Buffer.alloc(30, 0x61)]))],
  ['a row description of many columns', message('T', Buffer.from([0, 9, ...Buffer.alloc(30)]))],
  ['2,000,000,000 SCRAM iterations', scram('2000000000')],
  ['SCRAM iterations that are not a number', scram('x')],
  ['an authentication message without a type', message('R', Buffer.alloc(2))],
  ['SCRAM without iterations', scram('0')],
  ['SCRAM that continues before it started', authentication(11, 'r=nonce,s=salt,i=4096')],
  ['SCRAM that ends too early', Buffer.concat([scramOffered, authentication(12, 'v=x')])],
  ['SCRAM without a signature', Buffer.concat([scram('4096'), authentication(0)]), '28000'],
  ['SASL without SCRAM', authentication(10, 'OAUTHBEARER\0\0'), '28000'],
  ['SCRAM a second time', Buffer.concat([scram('4096'), scram('4096')])],
  ['authentication after the login', Buffer.concat([welcome, authentication(3)])],
  ['MD5 without its salt', authentication(5)],
  ['GSSAPI', authentication(7), '28000'],
  ['a row that is longer than its message', message('D', Buffer.from([0, 1, 0, 0, 1, 0, 49]))],
  ['a flood of notices', Buffer.concat(Array.from({ length: 1_001 }, () => message('N', Buffer.from('\0'))))],
  ['a result that was not asked for', Buffer.concat([welcome, row('1'), row('1')])],
  ['a ReadyForQuery that was not asked for', Buffer.concat([welcome, row('1'), ready])],
  ['a row without its description', Buffer.concat([welcome, row('1').subarray(34)])],
  ['a row without its CommandComplete', Buffer.concat([welcome, row('1').subarray(0, 46), ready])],
  ['an error behind a row', Buffer.concat([row('1').subarray(0, 46), error('57014', 'canceled')]), '57014'],
  ['a second description inside a result', Buffer.concat([welcome, row('1').subarray(0, 46), row('1')])],
]

for (const [what, bytes, code = '08P01'] of refused) {
  test(`createProtocolGuard() rejects ${what}`, () => {
    const guard = createProtocolGuard()
    guard.expectResult()
    assert.equal(codeOf(guard.read(bytes)), code)
  })
}

test('createProtocolGuard() allows one result per query', () => {
  const guard = createProtocolGuard()
  assert.equal(guard.read(welcome), undefined)
  for (let statement = 0; statement < 2_000; statement += 1) {
    guard.expectResult()
    assert.equal(guard.read(row('1')), undefined)
  }
  assert.equal(codeOf(guard.read(row('1'))), '08P01')
})

test('fatal() is the error that ended the session, and no error that the session survived', () => {
  const guard = createProtocolGuard()
  guard.expectResult()
  guard.read(Buffer.concat([welcome, error('57014', 'canceled')]))
  assert.equal(guard.fatal(), undefined)
  guard.read(Buffer.concat([message('N', Buffer.from('\0')), fatal('57P01', 'bye')]))
  assert.equal(codeOf(guard.fatal()), '57P01')
  assert.equal(guard.fatal()?.message, 'bye')
})
