// Reads the command line of `npm run bench`, and runs what it asks for beside a throwaway PostgreSQL.
import { availableParallelism, constants, cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { NoBinariesError, openPostgres } from '../tests/support/postgres.ts'
import { crowdGoalsOf, measureCrowds, printCrowds } from './crowd.ts'
import { goalsOf, measureLoad, printLoad } from './load.ts'
import { BenchError, openBuild } from './program.ts'
import { measureStart, printStart, startGoalsOf } from './start.ts'
import { measureStorm, printStorm } from './storm.ts'
import { createProgress } from './table.ts'
import { findWrk } from './wrk.ts'

const defaults = {
  clients: '1,8,64,512,2048',
  rounds: '9',
  seconds: '1',
  minutes: '0.5',
  idle: '60',
} as const

const usage = `Usage: npm run bench -- [options]           answers a second beside a bare server, naive handlers, in Express
       npm run bench -- --start [options]   start, memory, processor time at rest
       npm run bench -- --storm             5,000 connections through a freeze; a slow database
       npm run bench -- --crowd             new connections beside 1,000 busy clients

  --clients LIST   how many clients, one after the other (default ${defaults.clients})
  --rounds N       each round measures each server once (default ${defaults.rounds})
  --seconds N      how long each time; whole (default ${defaults.seconds})
  --minutes N      with --start: load before memory is read again (default ${defaults.minutes})
  --idle N         with --start: seconds at rest (default ${defaults.idle})
  --node PATH      with --start: a Node.js that strips types, 22.18 or newer
  --json           for machines, on stdout; progress goes to stderr
  --help

The load is wrk, from Debian's packages. Nothing fails because it is slow: goals are printed as reached or not.
Exit codes: 0 measured, 1 can't measure here, 64 usage.
`

class UsageError extends Error {}

const progress = createProgress(process.stderr)
// So that what it has started and written goes with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]))
}
try {
  await run(process.argv.slice(2))
} catch (error) {
  progress.end()
  const known = error instanceof UsageError || error instanceof BenchError || error instanceof NoBinariesError
  if (!known) throw error
  process.stderr.write(`bench: ${error.message}\n${error instanceof UsageError ? 'Try --help.\n' : ''}`)
  process.exitCode = error instanceof UsageError ? 64 : 1
}

async function run(args: readonly string[]) {
  const options = read(args)
  if (options.help) return void process.stdout.write(usage)
  if (process.platform !== 'linux')
    throw new BenchError('what a process costs is read from /proc: Linux only')
  await findWrk()
  progress.show('building, starting PostgreSQL')
  const build = await openBuild()
  try {
    const database = await openPostgres({ settings: { max_connections: '50' } })
    try {
      const machine = {
        node: process.version,
        processor: cpus()[0]?.model ?? '',
        cores: availableParallelism(),
      }
      const { text, figures } = await measure(options, build, database)
      progress.end()
      const title = `Node.js ${process.version}, ${machine.cores} cores, ${machine.processor.trim()}; nothing is pinned.`
      process.stdout.write(
        options.json ? `${JSON.stringify({ machine, ...figures })}\n` : `${title}\n\n${text}`,
      )
    } finally {
      await database.close()
    }
  } finally {
    build.close()
  }
}

type Options = ReturnType<typeof read>
type Build = Awaited<ReturnType<typeof openBuild>>
type Database = Awaited<ReturnType<typeof openPostgres>>

async function measure(options: Options, build: Build, database: Database) {
  if (options.start) {
    const rows = await measureStart(build, database, options, progress)
    return { text: printStart(rows), figures: { rows, goals: startGoalsOf(rows) } }
  }
  if (options.storm) {
    const figures = await measureStorm(build, database, progress)
    return { text: printStorm(figures), figures }
  }
  if (options.crowd) {
    const crowds = await measureCrowds(build, database, progress)
    return { text: printCrowds(crowds), figures: { crowds, goals: crowdGoalsOf(crowds) } }
  }
  const levels = await measureLoad(build, database, options, progress)
  return { text: printLoad(levels), figures: { levels, goals: goalsOf(levels) } }
}

function read(args: readonly string[]) {
  const values = parse(args)
  if (values.start && values.storm) throw new UsageError('It is either --start or --storm')
  if (values.crowd && (values.start || values.storm)) throw new UsageError('--crowd is a bench of its own')
  return {
    help: values.help ?? false,
    json: values.json ?? false,
    start: values.start ?? false,
    storm: values.storm ?? false,
    crowd: values.crowd ?? false,
    clients: (values.clients ?? defaults.clients).split(',').map(text => whole('--clients', text, 8_000)),
    rounds: whole('--rounds', values.rounds ?? defaults.rounds, 1_000),
    seconds: whole('--seconds', values.seconds ?? defaults.seconds, 600),
    minutes: decimal('--minutes', values.minutes ?? defaults.minutes, 60),
    idle: whole('--idle', values.idle ?? defaults.idle, 600),
    node: values.node,
  }
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { ...flag, short: 'h' },
        json: flag,
        start: flag,
        storm: flag,
        crowd: flag,
        clients: text,
        rounds: text,
        seconds: text,
        minutes: text,
        idle: text,
        node: text,
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function whole(option: string, text: string, most: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= 1 && value <= most) return value
  throw new UsageError(`${option} must be a whole number from 1 to ${most}`)
}

function decimal(option: string, text: string, most: number): number {
  const value = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && value > 0 && value <= most) return value
  throw new UsageError(`${option} must be a number above 0, up to ${most}`)
}
