// What a verdict says about a wish for a role.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { badQuery, roleReplies } from '../../../lib/health/reply.ts'
import {
  deeperOf,
  lagSentences,
  questionOf,
  questions,
  resultFor,
  type Wish,
} from '../../../lib/health/role.ts'
import { sentences, shutdownVerdict, type Verdict } from '../../../lib/health/verdict.ts'

const healthy: Verdict = { result: 'healthy', by: 'check', queryMs: 1 }
const writes: Wish = { role: 'primary' }
const reads: Wish = { role: 'standby' }
const within = (maxLagBytes: number): Wish => ({ role: 'standby', maxLagBytes })

const cases: [title: string, wish: Wish, verdict: Verdict, result: string][] = [
  ['a primary takes writes', writes, { ...healthy, role: 'primary' }, 'healthy'],
  ['a standby takes none', writes, { ...healthy, role: 'standby' }, 'standby'],
  ['a read-only primary takes none', writes, { ...healthy, role: 'read_only' }, 'read_only'],
  ['a standby is one', reads, { ...healthy, role: 'standby' }, 'healthy'],
  ['a primary is no standby', reads, { ...healthy, role: 'primary' }, 'primary'],
  ['a read-only primary is no standby', reads, { ...healthy, role: 'read_only' }, 'read_only'],
  ['as much lag as allowed', within(5), { ...healthy, role: 'standby', lagBytes: 5 }, 'healthy'],
  ['one byte more', within(5), { ...healthy, role: 'standby', lagBytes: 6 }, 'lagging'],
  ['no lag where none is allowed', within(0), { ...healthy, role: 'standby', lagBytes: 0 }, 'healthy'],
  ['an unknown lag is not within a limit', within(1e15), { ...healthy, role: 'standby' }, 'lag_unknown'],
  ['an unknown lag where none is asked for', reads, { ...healthy, role: 'standby' }, 'healthy'],
  ['a primary has no lag, but is no standby', within(5), { ...healthy, role: 'primary' }, 'primary'],
  ['an unhealthy check says why', writes, { result: 'unreachable', by: 'check' }, 'unreachable'],
  ['our own shutdown', reads, shutdownVerdict, 'stopping'],
  ['a role that timed out', writes, { ...healthy, roleReason: 'timeout' }, 'timeout'],
  ['a role that nobody asked for is no yes', writes, healthy, 'unknown'],
]

for (const [title, wish, verdict, result] of cases) {
  test(`resultFor(): ${title}`, () => assert.equal(resultFor(wish, verdict), result))
}

test('deeperOf() takes the question that includes the other', () => {
  for (const [place, question] of questions.entries()) {
    for (const other of questions.slice(0, place + 1)) {
      assert.equal(deeperOf(question, other), question)
      assert.equal(deeperOf(other, question), question)
    }
  }
})

test('questionOf() asks for the lag only if the wish has a limit', () => {
  assert.deepEqual([writes, reads, within(0)].map(questionOf), ['role', 'role', 'lag'])
})

test("role replies have the check's sentences and two more, all 503", () => {
  assert.deepEqual(lagSentences, { lagging: 'standby lags behind', lag_unknown: 'standby lag unknown' })
  const { healthy: yes, ...no } = roleReplies
  assert.deepEqual(yes, { status: 200, body: '{"status": "healthy","database": "connected"}' })
  const expected = Object.entries({ ...sentences, ...lagSentences }).map(([reason, sentence]) => [
    reason,
    { status: 503, body: `{"status": "unhealthy","error": "${sentence}"}` },
  ])
  assert.deepEqual(no, Object.fromEntries(expected))
})

test('badQuery has exactly these bytes', () => {
  assert.deepEqual(badQuery, {
    status: 400,
    body: '{"error": "only /replica takes a query: lag in bytes, as in lag=1048576, lag=16MB or lag=1GB"}',
  })
})
