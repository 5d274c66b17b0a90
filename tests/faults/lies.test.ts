// What answers is no PostgreSQL, or one that lies: named, survived, and forgotten with the first honest answer.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { type Judged, type Said, startJudged } from '../support/judge.ts'
import {
  authentication,
  honest,
  message,
  openPeer,
  type Peer,
  ready,
  row,
  type Scenario,
  silence,
  welcome,
} from '../support/peer.ts'

/** Says this after the start-up message, and nothing more. */
function greeting(...parts: readonly Buffer[]): Scenario {
  return { startup: Buffer.concat(parts), statement: () => silence }
}

/** Lets us in, answers the warming statement as it should, and every other with this. */
function answering(...parts: readonly Buffer[]): Scenario {
  return { startup: welcome, statement: index => (index === 0 ? row('1') : Buffer.concat(parts)) }
}

const notice = message('N', Buffer.from('SNOTICE\0VNOTICE\0C00000\0Mhear, hear\0\0'))
const done = Buffer.concat([message('C', Buffer.from('SELECT 1\0')), ready])
const [column, value] = [row('1').subarray(0, 34), row('1').subarray(34, 46)]
const scramOffered = authentication(10, 'SCRAM-SHA-256\0\0')

/** A server that takes part in SCRAM up to its signature, which is that of one who does not know the password. */
const impostor = (last: Buffer): Scenario => ({
  startup: scramOffered,
  statement(index, sent) {
    if (index > 0) return last
    const nonce = /r=(.*)$/s.exec(sent.toString('utf8'))?.[1] ?? ''
    return authentication(11, `r=${nonce}server,s=${Buffer.from('salt').toString('base64')},i=4096`)
  },
})
const wrongSignature = createHmac('sha256', 'x').update('y').digest('base64')

const lies: [what: string, says: Said, scenario: Scenario][] = [
  ['a web server', 'connection_lost', greeting(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ['an SSH server', 'connection_lost', greeting(Buffer.from('SSH-2.0-OpenSSH_9.2p1\r\n'))],
  ['zeros', 'connection_lost', greeting(Buffer.alloc(64))],
  ['0xFF', 'connection_lost', greeting(Buffer.alloc(64, 0xff))],
  ['a message of an unknown type', 'connection_lost', greeting(message('!', Buffer.alloc(4)))],
  ['an answer of an unknown type', 'connection_lost', answering(message('!', Buffer.alloc(4)))],
  ['a message of 2 GiB', 'connection_lost', greeting(Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff]))],
  ['COPY', 'connection_lost', answering(message('G', Buffer.alloc(3)))],
  ['it accepts and closes', 'connection_lost', { ...honest, accept: 'close' }],
  ['it accepts and resets', 'connection_lost', { ...honest, accept: 'reset' }],

  ['authentication by GSSAPI', 'auth_failed', greeting(authentication(7))],
  ['authentication by something unknown', 'auth_failed', greeting(authentication(99))],
  ['authentication without a type', 'connection_lost', greeting(message('R', Buffer.alloc(2)))],
  ['authentication that is empty', 'connection_lost', greeting(message('R', Buffer.alloc(0)))],
  ['MD5 without its salt', 'connection_lost', greeting(authentication(5))],
  ['SASL without a method', 'auth_failed', greeting(authentication(10, '\0'))],
  ['SASL with methods that we have not', 'auth_failed', greeting(authentication(10, 'OAUTHBEARER\0\0'))],
  ['SCRAM that goes on before it began', 'connection_lost', greeting(authentication(11, 'r=x,s=eA==,i=1'))],
  ['SCRAM that ends before it began', 'connection_lost', greeting(authentication(12, 'v=eA=='))],
  ...['', 'x', 'r=x,i=4096', 's=eA==,i=4096', 'r=x,s=eA==', 'r=x,s=eA==,i=0', 'r=x,s=eA==,i=2000000000'].map(
    (text): [string, Said, Scenario] => [
      `SCRAM with "${text}"`,
      'connection_lost',
      { startup: scramOffered, statement: () => authentication(11, text) },
    ],
  ),
  ['SCRAM with a wrong signature', 'auth_failed', impostor(authentication(12, `v=${wrongSignature}`))],
  ['SCRAM without a signature', 'auth_failed', impostor(welcome)],

  ['2 for SELECT 1', 'bad_result', answering(row('2'))],
  [
    'a text for SELECT 1',
    'bad_result',
    answering(column, message('D', Buffer.from('\0\x01\0\0\0\x01x')), done),
  ],
  ['nothing for SELECT 1', 'bad_result', answering(column, done)],
  [
    'NULL for SELECT 1',
    'bad_result',
    answering(column, message('D', Buffer.from([0, 1, 255, 255, 255, 255])), done),
  ],
  ['two rows for SELECT 1', 'bad_result', answering(column, value, value, done)],
  ['two answers for SELECT 1', 'connection_lost', answering(row('1'), row('1'))],
  [
    'a row that is longer than its message',
    'connection_lost',
    answering(column, message('D', Buffer.from([0, 1, 0, 0, 1, 0, 49])), done),
  ],
  [
    'a row description without an end',
    'connection_lost',
    answering(message('T', Buffer.from([0, 1, ...Buffer.alloc(30, 0x61)]))),
  ],
  ['a row without its description', 'connection_lost', answering(value, done)],
  ['an end without a beginning', 'bad_result', answering(done)],
  ['an error without a field', 'unknown', answering(message('E', Buffer.from('\0')), ready)],
  ['an error that is cut off', 'unknown', answering(message('E', Buffer.from('SERR')), ready)],
  ['a thousand notices and more, without an end', 'connection_lost', answering(...Array(2_000).fill(notice))],
  ['notices, and then the truth', 'healthy', answering(...Array(900).fill(notice), row('1'))],
]

describe('what answers lies', () => {
  let peer: Peer
  let judged: Judged
  before(async () => {
    peer = await openPeer(honest)
    const url = `postgres://watcher:geheim@127.0.0.1:${peer.port}/ledger?sslmode=disable`
    judged = await startJudged({ DATABASE_URL: url, HEALTH_TIMEOUT_MS: '800' })
  })
  after(async () => {
    await judged?.close()
    await peer?.close()
  })

  for (const [what, says, scenario] of lies) {
    test(`${what}: ${says}`, async () => {
      let before = 0
      await judged.judge({
        says,
        begin() {
          before = peer.connections
          peer.play(scenario)
        },
        async during({ ask }) {
          const answers = [await ask(), await ask()]
          if (says !== 'healthy') assert.equal(peer.connections - before, 2, 'one connection a probe')
          return answers
        },
        end: () => peer.play(honest),
      })
    })
  }
})
