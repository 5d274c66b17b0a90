// At most one line a minute, and no count is lost.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createThrottle } from '../../../lib/monitor/throttle.ts'

/** A throttle on the test's own clock. `take` gives its counts as an object. */
function stage() {
  const clock = { seconds: 1_000 }
  const throttle = createThrottle<string>(() => clock.seconds * 1_000)
  const take = () => {
    const counts = throttle.take()
    return counts && Object.fromEntries(counts)
  }
  return { clock, count: throttle.count, take }
}

test('take() returns the first count immediately, and nothing while there is none', () => {
  const { count, take } = stage()
  assert.equal(take(), undefined)
  count('a')
  assert.deepEqual(take(), { a: 1 })
  assert.equal(take(), undefined)
})

test('take() returns nothing for a minute, then all counts since', () => {
  const { clock, count, take } = stage()
  count('a')
  take()
  for (let second = 0; second < 59; second += 1) {
    clock.seconds += 1
    count(second % 2 === 0 ? 'a' : 'b')
    assert.equal(take(), undefined)
  }
  clock.seconds += 1
  assert.deepEqual(take(), { a: 30, b: 29 })
  count('b')
  assert.equal(take(), undefined, 'the next minute')
  clock.seconds += 3_600
  assert.deepEqual(take(), { b: 1 })
})
