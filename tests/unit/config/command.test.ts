// The command line: every form, and every fault in it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readCommand, usage } from '../../../lib/config/command.ts'
import { UsageError } from '../../../lib/error.ts'

const check = { name: 'check', url: undefined, timeoutMs: undefined, waitMs: undefined, output: 'line' }

const forms: [string, object][] = [
  ['', { name: 'serve' }],
  ['--help', { name: 'help' }],
  ['-h', { name: 'help' }],
  ['check --help', { name: 'help' }],
  ['--version', { name: 'version' }],
  ['-v', { name: 'version' }],
  ['--help --version', { name: 'help' }],
  ['--check-config', { name: 'check-config' }],
  ['check', check],
  ['check http://127.0.0.1:8000/health', { ...check, url: new URL('http://127.0.0.1:8000/health') }],
  ['check HTTPS://[::1]/readyz?x', { ...check, url: new URL('https://[::1]/readyz?x') }],
  ['check --timeout 1', { ...check, timeoutMs: 1 }],
  ['--timeout=999999 check', { ...check, timeoutMs: 999_999 }],
  ['check --quiet', { ...check, output: 'none' }],
  ['check --wait 30000', { ...check, waitMs: 30_000 }],
  ['check --nagios --wait=1', { ...check, waitMs: 1, output: 'nagios' }],
  ['check -q http://h/', { ...check, output: 'none', url: new URL('http://h/health') }],
  ['check http://h:8000', { ...check, url: new URL('http://h:8000/health') }],
]

for (const [line, command] of forms) {
  test(`readCommand() reads "pg-health ${line}"`, () => {
    assert.deepEqual(readCommand(wordsOf(line)), command)
  })
}

const timeoutFault = '--timeout must be a whole number of milliseconds from 1 to 999999'
const urlFault = 'The URL to check must begin with http:// or https://'
const checkFault = '--timeout, --wait, --nagios and --quiet belong to "check"'
const verbFault = 'Unknown command: there is only "check"'

const faults: [string, string][] = [
  ['serve', verbFault],
  ['Check', verbFault],
  ['check http://a/ http://b/', 'Only one URL can be checked, not 2'],
  ['check http://a/ http://b/ http://c/', 'Only one URL can be checked, not 3'],
  ['--timeout 5', checkFault],
  ['--quiet', checkFault],
  ['--check-config -q', checkFault],
  ['--wait 5', checkFault],
  ['--nagios', checkFault],
  ['check --nagios --quiet', 'Use either --nagios or --quiet'],
  ['check --wait 0', timeoutFault.replace('timeout', 'wait')],
  ['check --wait soon', timeoutFault.replace('timeout', 'wait')],
  ['check --timeout 0', timeoutFault],
  ['check --timeout 1000000', timeoutFault],
  ['check --timeout 1.5', timeoutFault],
  ['check --timeout 1e3', timeoutFault],
  ['check --timeout=-5', timeoutFault],
  ['check --timeout=', timeoutFault],
  ['check --timeout 5s', timeoutFault],
  ['check --timeout', "Option '--timeout <value>' argument missing"],
  ['check --timeout -5', "Option '--timeout' argument is ambiguous."],
  ['check localhost:8000', urlFault],
  ['check /health', urlFault],
  ['check ftp://h/', urlFault],
  ['check http://', urlFault],
  ['check http://h:99999/', urlFault],
  ['--help=yes', "Option '-h, --help' does not take an argument"],
  ['--chek-config', "Unknown option '--chek-config'"],
  ['-x', "Unknown option '-x'"],
]

for (const [line, message] of faults) {
  test(`readCommand() refuses "pg-health ${line}": ${message}`, () => {
    assert.throws(
      () => readCommand(wordsOf(line)),
      error => error instanceof UsageError && error.message === message,
    )
  })
}

test('readCommand() refuses an empty URL, as an unset variable leaves it', () => {
  assert.throws(() => readCommand(['check', '']), new UsageError(urlFault))
})

test('readCommand() repeats nothing of a database URL that is given by mistake', () => {
  const url = 'postgres://app:hunter2@db.internal/app?sslmode=require'
  const mistakes = [
    [url],
    ['check', url],
    ['check', 'http://h/', url],
    ['check', '--timeout', url],
    [`--${url}`],
    [`-${url}`],
    [`--url=${url}`],
    [`--help=${url}`],
  ]
  for (const args of mistakes) {
    assert.throws(
      () => readCommand(args),
      error => error instanceof UsageError && !/hunter2|db\.internal|postgres/.test(error.message),
      args.join(' '),
    )
  }
})

test('readCommand() gives each fault in one line', () => {
  for (const [line] of faults) {
    assert.throws(
      () => readCommand(wordsOf(line)),
      error => error instanceof UsageError && /^[^\n]+$/.test(error.message),
    )
  }
})

test('readCommand() says in its error how the command line wants its output', () => {
  for (const [line, output] of [
    ['check --nagios --wait soon', 'nagios'],
    ['check --nagios --bogus', 'nagios'],
    ['check --wait soon', 'line'],
  ] as const) {
    assert.throws(
      () => readCommand(wordsOf(line)),
      error => error instanceof UsageError && error.output === output,
    )
  }
})

test('usage has the options of the parser in its lines, and every exit code', () => {
  const words = usage.match(/--[a-z-]+/g)?.sort()
  const options = ['--check-config', '--help', '--nagios', '--quiet', '--timeout', '--version', '--wait']
  assert.deepEqual(words, options)
  for (const option of options) {
    const isUnknown = (error: unknown) => error instanceof UsageError && /Unknown/.test(error.message)
    try {
      readCommand([option])
    } catch (error) {
      assert.ok(!isUnknown(error), option)
    }
  }
  for (const line of usage.split('\n')) assert.ok(line.length <= 110, line)
  assert.match(
    usage,
    /0 stopped cleanly, 1 runtime failure .*, 64 usage, 70 internal error, 78 configuration/,
  )
})

function wordsOf(line: string): string[] {
  return line.split(' ').filter(word => word !== '')
}
