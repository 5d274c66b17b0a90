// Tells the operator what to correct, and gives the exit code.
import { pluginFault } from './client/nagios.ts'
import type { Output } from './config/command.ts'
import { ConfigError, UsageError } from './error.ts'
import type { Host } from './system/host.ts'

/** Exit codes of the program; the numbers from 64 on are those of sysexits.h. */
export const exitCodes = { ok: 0, failure: 1, usage: 64, internal: 70, config: 78 } as const

/** Prints the faults in the command line or the settings. Returns the exit code. Throws any other error again. */
export function reportFault(error: unknown, output: Output, host: Host): number {
  if (!(error instanceof UsageError || error instanceof ConfigError)) throw error
  // If the command line could not be read, its error knows which output it asks for.
  if ('output' in error ? error.output === 'nagios' : output === 'nagios') {
    // Nagios reads standard output, and knows no exit codes but 0 to 3.
    const { line, exitCode } = pluginFault(error.message)
    host.print(`${line}\n`)
    return exitCode
  }
  const isUsage = error instanceof UsageError
  for (const line of isUsage ? [error.message, 'Try --help.'] : error.faults) host.printError(line)
  return isUsage ? exitCodes.usage : exitCodes.config
}
