// Gives access to the machine and the process: arguments, environment, output, clocks, limits.
import { fstatSync, readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { isatty } from 'node:tty'
import { readTextFile, type TextFile } from './file.ts'
import { isJournal } from './systemd.ts'

export interface Host {
  readonly process: NodeJS.Process
  /** Loads a module of Node.js when it is needed: that costs time, memory, or both. */
  readonly loadModule: NodeJS.Process['getBuiltinModule']
  readonly args: readonly string[]
  /** The environment as it was at the start. */
  readonly env: NodeJS.ProcessEnv
  /** Monotonic clock, milliseconds. */
  readonly now: () => number
  /** Wall clock. */
  readonly date: () => Date
  readonly output: 'journal' | 'terminal' | 'other'
  /** `person` if one of the standard streams is a terminal; what starts services gives them none. */
  readonly startedBy: 'person' | 'supervisor'
  /** Width of the terminal; undefined if there is none. */
  readonly columns: number | undefined
  /** Writes to standard output. */
  print(text: string): void
  /** Writes a line to standard output. Returns false if its reader has stalled: more lines would fill the memory. */
  writeLog(line: string): boolean
  /** Writes a line to standard error. */
  printError(line: string): void
  /** Reads a text file. Throws an error with a `code`. */
  readTextFile(path: string): TextFile
  /** The user of the process, which is libpq's default role. Empty if the user has no name, as in some containers. */
  userName(): string
  /** How many connections the server may hold, so that the database always gets a file descriptor. */
  maxConnections(): number
}

/** If more bytes than this wait in the buffer of standard output, its reader has stalled. */
const maxBufferedBytes = 64 * 1024

/** Opens the host. Removes the variables from the environment that no child process may get. */
export function openHost(process: NodeJS.Process): Host {
  const env = { ...process.env }
  // systemd's variables are meant for this process only, and not for its children. No child of ours needs a password.
  for (const name of Object.keys(env)) if (/^(PG|LISTEN_|NOTIFY_)/.test(name)) delete process.env[name]
  // glibc asks a silent name server again after 5 s, and a lookup cannot be cancelled: the first check after the name
  // server is back would time out. Other options of resolv.conf stay.
  process.env['RES_OPTIONS'] ??= 'timeout:1 attempts:5'
  // The reader of our output may go away. That is no reason to stop.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  const errorPrefix = isJournal(env, fstatSync(2)) ? '<3>' : ''
  return {
    process,
    loadModule: process.getBuiltinModule,
    args: process.argv.slice(2),
    env,
    now: () => performance.now(),
    date: () => new Date(),
    output: isJournal(env, fstatSync(1)) ? 'journal' : process.stdout.isTTY ? 'terminal' : 'other',
    startedBy: [0, 1, 2].some(isatty) ? 'person' : 'supervisor',
    // A terminal that does not know its width says 0.
    columns: process.stdout.isTTY ? process.stdout.columns || 80 : undefined,
    print: text => void process.stdout.write(text),
    writeLog(line) {
      // A reader that stalls does not block Node on a pipe: the lines stay in memory (measured).
      if (process.stdout.writableLength > maxBufferedBytes) return false
      process.stdout.write(line)
      return true
    },
    printError: line => void process.stderr.write(`${errorPrefix}pg-health: ${line}\n`),
    readTextFile,
    userName: () => readUserName() ?? env['USER'] ?? '',
    maxConnections: readMaxConnections,
  }
}

function readUserName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}

/** Node raises its limit of descriptors to the hard limit at start. Systems allow more than 8,000 by default. */
function readMaxConnections(): number {
  try {
    const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    const descriptors = Number(limit ?? 16_000)
    return Math.min(8_000, descriptors - Math.min(64, Math.floor(descriptors / 2)))
  } catch {
    return 8_000
  }
}
