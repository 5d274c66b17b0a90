// `npm run chaos`: breaks the database and the network at random while clients ask, and judges every answer.
import { parseArgs } from 'node:util'
import { type Progress, runCampaign } from './campaign.ts'
import { judge } from './judge.ts'
import { runPairCampaign } from './pair.ts'
import { tablesOf } from './tables.ts'

const mostMinutes = 600
const mostSeed = 2 ** 32 - 1

const usage = `Usage: npm run chaos -- [--minutes N] [--seed S] [--pair]

  --minutes N  how long, more than 0 and at most ${mostMinutes} (default 1)
  --seed S     a whole number from 0 to ${mostSeed}: the same seed, the same faults (default: another each time)
  --pair       a primary and a standby, with promotions among the faults
  --help

Starts the program between a crowd of clients and a throwaway PostgreSQL, brings about one fault after the other,
and judges every answer. Prints two tables; exit 0 when no promise was broken, 1 with the seed and what was
seen when one was, 64 for wrong arguments.
`

/** How often progress is written when the output is no terminal (milliseconds). */
const reminderMs = 10_000
/** More lines of the same kind would not help. */
const mostObjections = 10

/** The arguments are wrong. */
class ArgumentError extends Error {}

const abort = new AbortController()
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
  process.on(signal, () => {
    // A second signal ends it immediately: PostgreSQL's guard cleans up, and a Ctrl-C reaches the program as well.
    if (abort.signal.aborted) process.exit(128 + number)
    process.exitCode = 128 + number
    abort.abort()
  })
}

try {
  const options = readArguments(process.argv.slice(2))
  if (options === 'help') process.stdout.write(usage)
  else process.exitCode = await run(options)
} catch (error) {
  if (error instanceof ArgumentError) {
    process.stderr.write(`chaos: ${error.message}\nTry --help.\n`)
    process.exitCode = 64
  } else if (!abort.signal.aborted) throw error
}

async function run({ minutes, seed, pair }: Options): Promise<number> {
  const again = `npm run chaos -- --minutes ${minutes} --seed ${seed}${pair ? ' --pair' : ''}`
  process.stderr.write(`${again} on Node.js ${process.version}\n`)
  const progress = createProgress(minutes)
  const start = pair ? runPairCampaign : runCampaign
  const options = { minutes, seed, tell: progress.tell, signal: abort.signal }
  const campaign = await start(options).finally(progress.end)
  const objections = [...judge(campaign.recording), ...campaign.objections]
  process.stdout.write(tablesOf(campaign, objections))
  for (const { promise, because, seen } of objections.slice(0, mostObjections)) {
    process.stderr.write(`\nWRONG (${promise}): ${because}\n${JSON.stringify(seen)}\n`)
  }
  if (objections.length === 0) return 0
  process.stderr.write(`\nchaos: ${objections.length} wrong with seed ${seed}; again: ${again}\n`)
  return 1
}

/** One line that is rewritten on a terminal; a line now and then elsewhere. */
function createProgress(minutes: number) {
  const terminal = process.stderr.isTTY
  let toldAt = Number.NEGATIVE_INFINITY
  return { tell, end }

  function tell({ elapsedMs, faults, names, answers }: Progress) {
    if (!terminal && elapsedMs - toldAt < reminderMs) return
    toldAt = elapsedMs
    const time = `${clock(elapsedMs)} of ${clock(minutes * 60_000)}`
    const line = `${time}, ${faults} faults, ${answers} answers; now: ${names.join(' and ') || 'all is well'}`
    process.stderr.write(terminal ? `\r\x1b[K${line.slice(0, process.stderr.columns - 1)}` : `${line}\n`)
  }

  function end() {
    if (terminal) process.stderr.write('\r\x1b[K')
  }
}

function clock(ms: number): string {
  const seconds = Math.floor(ms / 1_000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

interface Options {
  readonly minutes: number
  readonly seed: number
  readonly pair: boolean
}

function readArguments(args: string[]): 'help' | Options {
  const { minutes = '1', seed = `${Math.floor(Math.random() * mostSeed)}`, pair = false, help } = parse(args)
  if (help) return 'help'
  if (!/^\d+(\.\d+)?$/.test(minutes) || Number(minutes) <= 0 || Number(minutes) > mostMinutes) {
    throw new ArgumentError(`--minutes must be more than 0 and at most ${mostMinutes}`)
  }
  if (!/^\d+$/.test(seed) || Number(seed) > mostSeed) {
    throw new ArgumentError(`--seed must be a whole number from 0 to ${mostSeed}`)
  }
  return { minutes: Number(minutes), seed: Number(seed), pair }
}

function parse(args: string[]) {
  try {
    const text = { type: 'string' } as const
    const flag = { type: 'boolean' } as const
    return parseArgs({ args, options: { minutes: text, seed: text, pair: flag, help: flag } }).values
  } catch (error) {
    // Node's own words name the argument.
    throw new ArgumentError(error instanceof Error ? error.message : String(error))
  }
}
