// The chaos run as people start it: half a minute of it, and how it takes wrong arguments and Ctrl-C.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { faults } from '../chaos/faults.ts'

const cwd = fileURLToPath(new URL('../../', import.meta.url))

function start(...args: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'tests/chaos/run.ts', ...args], { cwd })
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', chunk => {
      said[name] += chunk
    })
  }
  return { child, ended: once(child, 'close').then(([code]) => ({ code, ...said })) }
}

test('half a minute of faults: every answer was allowed, and the tables say what there was', async () => {
  const { code, stdout, stderr } = await start('--minutes', '0.5', '--seed', '1').ended
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^\| wrong answers, broken promises \| 0 \|$/m)
  assert.match(stderr, /^npm run chaos -- --minutes 0.5 --seed 1 on Node.js v/)
  assert.match(stderr, /^0:\d\d of 0:30, \d+ faults, \d+ answers; now: /m, 'progress')
  const healthy = Number(/^\| … healthy \| ([\d,]+) \|$/m.exec(stdout)?.[1]?.replaceAll(',', ''))
  assert.ok(healthy > 200, `${healthy} healthy answers`)
  const suffered = faults.filter(({ name }) => stdout.includes(`\n| ${name} | `))
  assert.ok(suffered.length >= faults.length / 3, `only ${suffered.length} of ${faults.length} faults`)
})

test('half a minute of promotions: every answer was allowed, and the pair was broken in every way', async () => {
  const { code, stdout, stderr } = await start('--pair', '--minutes', '0.5', '--seed', '3').ended
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^\| wrong answers, broken promises \| 0 \|$/m)
  assert.match(stdout, /^\| the primary .*, the standby promoted \| \d+ \|/m)
  assert.match(stdout, /^\| … standby \| [\d,]+ \|$/m)
})

test('Ctrl-C ends it: everything that it started is gone, exit 130', async () => {
  const { child, ended } = start('--minutes', '5')
  await once(child.stderr, 'data')
  child.kill('SIGINT')
  // It does not call exit(), so it ends when none of its child processes is left.
  const { code, stdout } = await ended
  assert.equal(code, 130)
  assert.equal(stdout, '')
})

test('a wrong argument is named, with exit 64', async () => {
  for (const [args, complaint] of [
    [['--minutes', '0'], /^chaos: --minutes must be more than 0 and at most 600\n/],
    [['--minutes', 'ten'], /--minutes must be/],
    [['--seed', '1.5'], /^chaos: --seed must be a whole number from 0 to 4294967295\n/],
    [['--sede', '1'], /^chaos: Unknown option '--sede'/],
    [['10'], /^chaos: Unexpected argument '10'/],
  ] as const) {
    const { code, stderr, stdout } = await start(...args).ended
    assert.equal(code, 64)
    assert.match(stderr, complaint)
    assert.equal(stdout, '')
  }
})

test('--help says what it does, and its exit codes', async () => {
  const { code, stdout } = await start('--help').ended
  assert.equal(code, 0)
  for (const word of ['--minutes', '--seed', 'exit 0', '1 with', '64 for'])
    assert.ok(stdout.includes(word), word)
})
