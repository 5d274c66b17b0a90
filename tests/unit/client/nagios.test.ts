// What a monitoring system reads from a check: https://nagios-plugins.org/doc/guidelines.html
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Finding } from '../../../lib/client/ask.ts'
import { pluginFault, pluginResultOf } from '../../../lib/client/nagios.ts'

const rows: [
  what: string,
  finding: Omit<Finding, 'elapsedMs'>,
  elapsedMs: number,
  exitCode: number,
  text: string,
][] = [
  ['OK', { state: 'healthy', line: '✓ API is healthy' }, 4, 0, 'HEALTH OK - API is healthy | time=0.004s'],
  [
    'WARNING when it is slow',
    { state: 'healthy', line: '✓ API is healthy' },
    101,
    1,
    'HEALTH WARNING - API is healthy, but it took 101 ms | time=0.101s',
  ],
  [
    'CRITICAL when the server reports unhealthy, slow or not',
    { state: 'unhealthy', line: '✗ API unhealthy: database unreachable' },
    2000,
    2,
    'HEALTH CRITICAL - API unhealthy: database unreachable | time=2.000s',
  ],
  [
    'CRITICAL when there is no response',
    { state: 'failed', line: '✗ Health check failed: connect ECONNREFUSED 127.0.0.1:1' },
    1,
    2,
    'HEALTH CRITICAL - Health check failed: connect ECONNREFUSED 127.0.0.1:1 | time=0.001s',
  ],
  [
    'UNKNOWN when the response is not from a health endpoint',
    { state: 'strange', line: '✗ Health check failed: HTTP 404, not the answer of a health endpoint' },
    1,
    3,
    'HEALTH UNKNOWN - Health check failed: HTTP 404, not the answer of a health endpoint | time=0.001s',
  ],
  [
    'no bar in the text, because it would begin the performance data',
    { state: 'unhealthy', line: '✗ API unhealthy: a|b' },
    1,
    2,
    'HEALTH CRITICAL - API unhealthy: a/b | time=0.001s',
  ],
]
for (const [what, finding, elapsedMs, exitCode, text] of rows) {
  test(`pluginResultOf() reports ${what}: ${text}`, () => {
    const line = `${text};0.100;5.000;0;5.000`
    assert.deepEqual(pluginResultOf({ ...finding, elapsedMs }, 100, 5_000), { line, exitCode })
  })
}

test('pluginFault() is UNKNOWN, without data', () => {
  assert.deepEqual(pluginFault('PORT must be …'), { line: 'HEALTH UNKNOWN - PORT must be …', exitCode: 3 })
})
