// The source of a service with a dedicated connection, which is loaded with the first check.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Verdict } from '../../../lib/health/verdict.ts'
import { createSource } from '../../../lib/library/source.ts'

test('createSource() gives a dedicated connection every argument of each check', async () => {
  const verdict: Verdict = { result: 'healthy', by: 'check' }
  const tasks: unknown[][] = []
  const source = createSource({
    source: {
      kind: 'database',
      readConninfo: () => assert.fail('read before a session is opened'),
      connectTimeoutMs: 1,
      sessionMaxAgeMs: 1,
      leftOut: [],
    },
    timeoutMs: 1,
    phase: () => 'serving',
    now: () => 0,
    loadDatabase: async () => ({
      createDatabase: () => ({
        check: async (...task) => {
          tasks.push(task)
          return verdict
        },
        timedOut: () => verdict,
        close: async () => {},
        connectionsOpened: () => 0,
      }),
    }),
  })
  const onHealthy = () => {}
  assert.equal(await source.check(1, 'lag', onHealthy), verdict)
  assert.equal(await source.check(2), verdict)
  assert.deepEqual(tasks, [[1, 'lag', onHealthy], [2]])
})
