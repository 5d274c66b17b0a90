// A peer that is no PostgreSQL, or that lies: it gets its reason, and the first right answer after it is healthy.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { sentences } from '../../lib/health/verdict.ts'
import { type Judged, type Said, slackMs, startJudged } from '../support/judge.ts'
import { mutatedLogins } from '../support/login.ts'
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
import { createRandom } from '../support/random.ts'
import { ask } from '../support/server.ts'
import { type Service, startService, startWithLibrary } from '../support/service.ts'

const timeoutMs = 800

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
/** The driver answers this after 50 ms, in which the event loop is blocked. */
const wholeScram = Buffer.concat([scramOffered, authentication(11, 'r=x,s=eA==,i=100000')])
const wrongSignature = createHmac('sha256', 'x').update('y').digest('base64')

/** A peer that offers SCRAM, and continues it with this. */
const continuing = (fields: string): Scenario => ({
  startup: scramOffered,
  statement: () => authentication(11, fields),
})

/** Logins that break the driver's promises where nothing handles that, or make it compute or wait for ever. */
const logins: [what: string, says: Said, scenario: Scenario][] = [
  ['authentication without its kind', 'connection_lost', greeting(message('R', Buffer.alloc(2)))],
  ['authentication of an unknown kind', 'auth_failed', greeting(authentication(255))],
  ['authentication by GSSAPI', 'auth_failed', greeting(authentication(7))],
  ['authentication after the login', 'connection_lost', greeting(welcome, authentication(5, 'salt'))],
  ['MD5 without its salt', 'connection_lost', greeting(authentication(5))],
  ['MD5 with half of its salt', 'connection_lost', greeting(authentication(5, 'sa'))],
  ['SASL without a mechanism', 'auth_failed', greeting(authentication(10))],
  ['SASL with other mechanisms', 'auth_failed', greeting(authentication(10, 'SCRAM-SHA-1\0OAUTHBEARER\0\0'))],
  ['SASL with a list that has no end', 'auth_failed', greeting(authentication(10, 'SCRAM-SHA-256'))],
  ['SCRAM that has not begun', 'connection_lost', greeting(authentication(11, 'r=x,s=eA==,i=4096'))],
  ['SCRAM that ends at once', 'connection_lost', greeting(scramOffered, authentication(12, 'v=eA=='))],
  ['SCRAM a hundred times', 'connection_lost', greeting(...Array(100).fill(wholeScram))],
  ['SCRAM that continues with nothing', 'connection_lost', continuing('')],
  ['SCRAM without a nonce', 'connection_lost', continuing('s=eA==,i=4096')],
  ['SCRAM without a salt', 'connection_lost', continuing('r=x,i=4096')],
  ['SCRAM with a salt that is no Base64', 'connection_lost', continuing('r=x,s=%%%,i=4096')],
  ['SCRAM without iterations', 'connection_lost', continuing('r=x,s=eA==')],
  ['SCRAM with no iteration', 'connection_lost', continuing('r=x,s=eA==,i=0')],
  ['SCRAM with -1 iterations', 'connection_lost', continuing('r=x,s=eA==,i=-1')],
  ['SCRAM with iterations in words', 'connection_lost', continuing('r=x,s=eA==,i=many')],
  ['SCRAM with 900 million iterations', 'connection_lost', continuing('r=x,s=eA==,i=900000000')],
  ['SCRAM with a wrong signature', 'auth_failed', impostor(authentication(12, `v=${wrongSignature}`))],
  ['SCRAM with a signature that is no Base64', 'auth_failed', impostor(authentication(12, 'v=%%%'))],
  ['SCRAM whose end has no signature', 'connection_lost', impostor(authentication(12, 'e=other-error'))],
  ['SCRAM without an end', 'auth_failed', impostor(welcome)],
]

/** One of each kind. All that the guard stops is in tests/unit/postgres/protocol.test.ts. */
const lies: [what: string, says: Said, scenario: Scenario][] = [
  ['a web server', 'connection_lost', greeting(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ['a message of 2 GiB', 'connection_lost', greeting(Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff]))],
  ['COPY', 'connection_lost', answering(message('G', Buffer.alloc(3)))],
  ['accept and reset', 'connection_lost', { ...honest, accept: 'reset' }],

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
    judged = await startJudged({ DATABASE_URL: url, HEALTH_TIMEOUT_MS: `${timeoutMs}` })
  })
  after(async () => {
    await judged?.close()
    await peer?.close()
  })

  for (const [what, says, scenario] of [...lies, ...logins]) {
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

/** Nothing in this process handles an error that escapes: one would end it. */
describe('a service with the library answers in time, and goes on, after', () => {
  let peer: Peer
  let service: Service
  before(async () => {
    peer = await openPeer(honest)
    const database = `postgres://watcher:geheim@127.0.0.1:${peer.port}/ledger?sslmode=disable`
    service = await startService({ database, timeoutMs })
  })
  after(async () => {
    await service?.close()
    await peer?.close()
  })

  for (const [what, says, scenario] of logins) {
    test(`${what}: ${says}`, async () => {
      assert.ok(says !== 'healthy')
      peer.play(scenario)
      const answers = [...(await Promise.all([askService(), askService()])), await askService()]
      const expected = [503, `{"status": "unhealthy","error": "${sentences[says]}"}`]
      assert.deepEqual(answers, [expected, expected, expected])
      peer.play(honest)
      assert.deepEqual(await askService(), [200, '{"status": "healthy","database": "connected"}'])
      assert.equal(service.child.stderr(), '')
    })
  }

  async function askService() {
    const { status, body, sentAt, answeredAt } = await ask(`${service.origin}/health`)
    assert.ok(answeredAt - sentAt < timeoutMs + slackMs, `${answeredAt - sentAt} ms`)
    return [status, body]
  }
})

test('createHealth() lets nothing escape from 2,000 logins that are mutated at random', async t => {
  const peer = await openPeer(mutatedLogins(createRandom(1), 'geheim'))
  t.after(() => peer.close())
  const code = `
    let left = 2_000
    const answers = {}
    async function ask() {
      while (left-- > 0) {
        const health = createHealth({ database: process.argv[1], timeoutMs: 500 })
        const { status } = await health.fetch(new Request('http://h/health'))
        answers[status] = (answers[status] ?? 0) + 1
        await health.close()
      }
    }
    await Promise.all(Array.from({ length: 8 }, ask))
    console.log(JSON.stringify(answers))`
  const database = `postgres://watcher:geheim@127.0.0.1:${peer.port}/ledger?sslmode=disable`
  const child = startWithLibrary(code, [database])
  t.after(() => child.process.kill('SIGKILL'))
  assert.equal(await child.ended, 0, child.output())
  assert.equal(child.stderr(), '')
  const { 200: healthy, 503: unhealthy, ...others } = JSON.parse(child.stdout())
  assert.deepEqual([healthy + unhealthy, others], [2_000, {}])
  assert.ok(healthy > 20, `only ${healthy} logins got through`)
})
