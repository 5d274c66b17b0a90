// Reads the command line: what the program is asked to do, or what is wrong with the arguments.
import { parseArgs } from 'node:util'
import { UsageError } from '../error.ts'

export type Command = { readonly name: 'serve' | 'help' | 'version' | 'check-config' } | CheckCommand

/** What `check` prints: one line, the line of a monitoring plugin, or nothing. */
export type Output = 'line' | 'nagios' | 'none'

export interface CheckCommand {
  readonly name: 'check'
  readonly url: URL | undefined
  /** Undefined: somewhat longer than the server's own deadline. */
  readonly timeoutMs: number | undefined
  /** Undefined: ask once. */
  readonly waitMs: number | undefined
  readonly output: Output
}

/** The options of "check", and the lines of --help for them. */
const checkOptions = {
  timeout: {
    type: 'string',
    meaning: 'give up after MS milliseconds (HEALTH_TIMEOUT_MS + 1000, at least 5000)',
  },
  wait: { type: 'string', meaning: 'ask again until it is healthy, for MS milliseconds' },
  nagios: { type: 'boolean', meaning: 'print the line of a Nagios plugin, exit 0, 1, 2 or 3' },
  quiet: { type: 'boolean', short: 'q', meaning: 'print nothing' },
} as const

const optionLines = Object.entries(checkOptions).map(([name, { type, meaning }]) => {
  const option = `--${name}${type === 'string' ? ' MS' : ''}`
  return `           ${option.padEnd(22)}${meaning}\n`
})

/** What --help prints before the settings. */
export const usage = `Usage: pg-health                 serve /health, /readyz, /livez, /primary, /replica and the pages
       pg-health check [URL]     ask a running server: one line, exit 0 when healthy, else 1
${optionLines.join('')}       pg-health --check-config  read the settings, name every fault, exit 0 or 78
       pg-health --help | --version

URL is http://127.0.0.1:$PORT/health unless given.
Exit codes: 0 stopped cleanly, 1 runtime failure (port taken), 64 usage, 70 internal error, 78 configuration,
            128 + the signal's number after a second signal.
`

/**
 * Reads the arguments after the program's name.
 *
 * @throws UsageError, whose `output` says how the command line wants its output.
 */
export function readCommand(args: readonly string[]): Command {
  try {
    return commandOf(args)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    throw new UsageError(error.message, args.includes('--nagios') ? 'nagios' : 'line')
  }
}

function commandOf(args: readonly string[]): Command {
  const { values, positionals } = parse(args)
  const [verb, url, ...surplus] = positionals
  const checkOption = Object.keys(checkOptions).some(name => name in values)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  // Not repeated: it may be a database URL, password and all.
  if (verb !== undefined && verb !== 'check') throw new UsageError('Unknown command: there is only "check"')
  if (surplus.length > 0) throw new UsageError(`Only one URL can be checked, not ${surplus.length + 1}`)
  if (verb === undefined && checkOption) {
    throw new UsageError('--timeout, --wait, --nagios and --quiet belong to "check"')
  }
  if (verb !== undefined && values['check-config']) {
    throw new UsageError('Use either "check" or --check-config')
  }
  if (values['check-config']) return { name: 'check-config' }
  if (verb === undefined) return { name: 'serve' }
  if (values.nagios && values.quiet) throw new UsageError('Use either --nagios or --quiet')
  return {
    name: 'check',
    url: readUrl(url),
    timeoutMs: readMs('--timeout', values.timeout),
    waitMs: readMs('--wait', values.wait),
    output: values.nagios ? 'nagios' : values.quiet ? 'none' : 'line',
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...checkOptions,
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean', short: 'v' },
        'check-config': { type: 'boolean' },
      },
    })
  } catch (error) {
    // Of an unknown option only a plain name is repeated: it may be a database URL, too.
    const { message } = error as Error
    const [fault] = /^(?:Unknown option '[a-z-]+'|Option .+)/.exec(message) ?? ['Unknown option']
    throw new UsageError(fault)
  }
}

function readMs(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = Number(text)
  if (/^\d{1,6}$/.test(text) && ms > 0) return ms
  throw new UsageError(`${option} must be a whole number of milliseconds from 1 to 999999`)
}

function readUrl(text: string | undefined): URL | undefined {
  if (text === undefined) return undefined
  if (/^https?:\/\//i.test(text) && URL.canParse(text)) {
    const url = new URL(text)
    // The page at / is no health endpoint.
    if (url.pathname === '/') url.pathname = '/health'
    return url
  }
  throw new UsageError('The URL to check must begin with http:// or https://')
}
