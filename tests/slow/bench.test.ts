// The bench: its command line, and how it reads wrk's report. What it measures is no test.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { atLeast, atMost, figure, median } from '../../bench/table.ts'
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

const wrong: [args: string[], said: RegExp][] = [
  [['--rounds', '0'], /^bench: --rounds must be a whole number from 1 to 1000\nTry --help\.\n$/],
  [['--seconds', 'x'], /--seconds must be a whole number/],
  [['--clients', '1,,8'], /--clients must be a whole number/],
  [['--minutes', '0'], /--minutes must be a number above 0/],
  [['--start', '--storm'], /either --start or --storm/],
  [['--faster'], /Unknown option '--faster'/],
]
for (const [args, said] of wrong) {
  test(`bench ${args.join(' ')} is refused with exit 64`, async () => {
    const { code, stdout, stderr } = await runBench(args)
    assert.deepEqual({ code, stdout }, { code: 64, stdout: '' })
    assert.match(stderr, said)
  })
}

const linuxOnly = process.platform !== 'linux' && 'it measures on Linux only'
test('bench without wrk says how to get it, and exits 1', { skip: linuxOnly }, async () => {
  const { code, stderr } = await runBench([], '/nonexistent')
  assert.equal(stderr, 'bench: wrk is not installed: apt-get install wrk\n')
  assert.equal(code, 1)
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

test('bench takes medians, and a goal is reached on its limit', () => {
  assert.equal(median([9, 1, 5]), 5)
  assert.equal(median([1, 9, 5, 3]), 4)
  assert.equal(atLeast('', 3, 3).reached, true)
  assert.equal(atLeast('', 2.99, 3).reached, false)
  assert.equal(atMost('', 3, 3).reached, true)
  assert.equal(atMost('', Number.NaN, 3).reached, false)
  assert.equal(figure(Number.NaN), '–')
})
