// A peer that is no PostgreSQL, or that lies: it gets its reason, and the first right answer after it is healthy.
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

/** A peer that sends this after the start-up message, and nothing more. */
function greeting(...parts: readonly Buffer[]): Scenario {
  return { startup: Buffer.concat(parts), statement: () => silence }
}

/** A peer that accepts the login, answers the first query correctly, and all others with this. */
function answering(...parts: readonly Buffer[]): Scenario {
  return { startup: welcome, statement: index => (index === 0 ? row('1') : Buffer.concat(parts)) }
}

const notice = message('N', Buffer.from('SNOTICE\0VNOTICE\0C00000\0Mhear, hear\0\0'))
const done = Buffer.concat([message('C', Buffer.from('SELECT 1\0')), ready])
const column = row('1').subarray(0, 34)
const value = row('1').subarray(34, 46)
const scramOffered = authentication(10, 'SCRAM-SHA-256\0\0')

/** A peer that takes part in SCRAM until its last message, as it does not know the password. */
const impostor = (last: Buffer): Scenario => ({
  startup: scramOffered,
  statement(index, sent) {
    if (index > 0) return last
    const nonce = /r=(.*)$/s.exec(sent.toString('utf8'))?.[1] ?? ''
    return authentication(11, `r=${nonce}server,s=${Buffer.from('salt').toString('base64')},i=4096`)
  },
})
const wrongSignature = createHmac('sha256', 'x').update('y').digest('base64')

/** One of each kind. All that the guard stops is in tests/unit/postgres/protocol.test.ts. */
const lies: [what: string, says: Said, scenario: Scenario][] = [
  ['a web server', 'connection_lost', greeting(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ['a message of 2 GiB', 'connection_lost', greeting(Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff]))],
  ['COPY', 'connection_lost', answering(message('G', Buffer.alloc(3)))],
  ['accept and reset', 'connection_lost', { ...honest, accept: 'reset' }],

  ['authentication by GSSAPI', 'auth_failed', greeting(authentication(7))],
  ['MD5 without its salt', 'connection_lost', greeting(authentication(5))],
  [
    'SCRAM with 900 million iterations',
    'connection_lost',
    { startup: scramOffered, statement: () => authentication(11, 'r=x,s=eA==,i=900000000') },
  ],
  ['SCRAM with a wrong signature', 'auth_failed', impostor(authentication(12, `v=${wrongSignature}`))],
  ['SCRAM without a signature', 'auth_failed', impostor(welcome)],

  ['2 for SELECT 1', 'bad_result', answering(row('2'))],
  ['nothing for SELECT 1', 'bad_result', answering(column, done)],
  ['two answers for SELECT 1', 'connection_lost', answering(row('1'), row('1'))],
  [
    'a row description without an end',
    'connection_lost',
    answering(message('T', Buffer.from([0, 1, ...Buffer.alloc(30, 0x61)]))),
  ],
  ['a row without its description', 'connection_lost', answering(value, done)],
  ['an end without a beginning', 'bad_result', answering(done)],
  ['an error without a field', 'unknown', answering(message('E', Buffer.from('\0')), ready)],
  ['two thousand notices', 'connection_lost', answering(...Array(2_000).fill(notice))],
  ['900 notices, then the right answer', 'healthy', answering(...Array(900).fill(notice), row('1'))],
]

describe('a peer that answers with', () => {
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
          if (says !== 'healthy') assert.equal(peer.connections - before, 2, 'one connection per request')
          return answers
        },
        end: () => peer.play(honest),
      })
    })
  }
})
