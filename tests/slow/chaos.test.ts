// The chaos run as people start it: half a minute of it, wrong arguments, and Ctrl-C.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faults } from '../chaos/faults.ts'
import { startChild } from '../support/child.ts'
import { root } from '../support/server.ts'

function start(...args: string[]) {
  return startChild(process.execPath, ['--import', 'tsx', 'tests/chaos/run.ts', ...args], { cwd: root })
}

test('half a minute of faults: every answer was allowed, and the tables count them', async () => {
  const run = start('--minutes', '0.5', '--seed', '1')
  const code = await run.ended
  const [stdout, stderr] = [run.stdout(), run.stderr()]
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^\| wrong answers, broken promises \| 0 \|$/m)
  assert.match(stderr, /^npm run chaos -- --minutes 0.5 --seed 1 on Node.js v/)
  assert.match(stderr, /^0:\d\d of 0:30, \d+ faults, \d+ answers; now: /m, 'progress')
  const healthy = Number(/^\| … healthy \| ([\d,]+) \|$/m.exec(stdout)?.[1]?.replaceAll(',', ''))
  assert.ok(healthy > 200, `${healthy} healthy answers`)
  const suffered = faults.filter(({ name }) => stdout.includes(`\n| ${name} | `))
  assert.ok(suffered.length >= faults.length / 3, `only ${suffered.length} of ${faults.length} faults`)
})

test('half a minute of promotions: every answer was allowed', async () => {
  const run = start('--pair', '--minutes', '0.5', '--seed', '3')
  assert.equal(await run.ended, 0, run.stderr())
  assert.match(run.stdout(), /^\| wrong answers, broken promises \| 0 \|$/m)
  assert.match(run.stdout(), /^\| the primary .*, the standby promoted \| \d+ \|/m)
  assert.match(run.stdout(), /^\| … standby \| [\d,]+ \|$/m)
})

test('Ctrl-C: exit 130, and everything that it started is gone', async () => {
  const run = start('--minutes', '5')
  await run.said(/\n/)
  run.process.kill('SIGINT')
  // It does not call exit(), so it ends when none of its child processes is left.
  assert.equal(await run.ended, 130)
  assert.equal(run.stdout(), '')
})

test('a wrong argument: exit 64, and it is named', async () => {
  for (const [args, complaint] of [
    [['--minutes', '0'], /^chaos: --minutes must be more than 0 and at most 600\n/],
    [['--minutes', 'ten'], /--minutes must be/],
    [['--seed', '1.5'], /^chaos: --seed must be a whole number from 0 to 4294967295\n/],
    [['--sede', '1'], /^chaos: Unknown option '--sede'/],
    [['10'], /^chaos: Unexpected argument '10'/],
  ] as const) {
    const run = start(...args)
    assert.equal(await run.ended, 64)
    assert.match(run.stderr(), complaint)
    assert.equal(run.stdout(), '')
  }
})

test('--help lists the options and the exit codes', async () => {
  const run = start('--help')
  assert.equal(await run.ended, 0)
  for (const word of ['--minutes', '--seed', 'exit 0', '1 with', '64 for'])
    assert.ok(run.stdout().includes(word), word)
})
