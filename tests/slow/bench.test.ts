// The bench starts, and reads wrk's report. What it measures is not tested.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readReport } from '../../bench/wrk.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

function runBench(args: readonly string[], path = process.env['PATH'] ?? '') {
  return new Promise<{ code: number; stdout: string; stderr: string }>(resolve => {
    const command = ['--import', 'tsx', 'bench/main.ts', ...args]
    const env = { PATH: path, HOME: process.env['HOME'] ?? '/' }
    execFile(process.execPath, command, { cwd: root, env }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    )
  })
}

test('bench --help says what can be measured, with every option', async () => {
  const { code, stdout, stderr } = await runBench(['--help'])
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  for (const name of [
    'start',
    'storm',
    'crowd',
    'clients',
    'rounds',
    'seconds',
    'minutes',
    'idle',
    'node',
    'json',
  ]) {
    assert.match(stdout, new RegExp(`--${name}\\b`))
  }
})

const report = `Running 1s test @ http://127.0.0.1:8120/health
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.87ms  840.21us  12.08ms   88.81%
    Req/Sec    22.61k     1.70k   24.47k    90.00%
  Latency Distribution
     50%  500.00us
     75%    2.97ms
     90%    3.55ms
     99%    1.20s
  22512 requests in 1.01s, 6.61MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  22347.65
Transfer/sec:      6.56MB
`

test("bench reads wrk's report: all units in milliseconds, every kind of error", () => {
  assert.deepEqual(readReport(report), {
    answers: 22_512,
    rate: 22_347.65,
    p50Ms: 0.5,
    p99Ms: 1_200,
    errors: 15,
  })
})
