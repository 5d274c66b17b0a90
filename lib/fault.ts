// Tells the operator what to correct, and gives the exit code.
import { pluginFault } from './client/nagios.ts'
import { ConfigError, UsageError } from './error.ts'
import type { Host } from './system/host.ts'

/** Exit codes, from sysexits.h where it has a word. */
export const exitCodes = { ok: 0, failure: 1, usage: 64, internal: 70, config: 78 } as const

/** Prints the faults of an operator and returns the exit code. Throws any other error again. */
export function reportFault(error: unknown, host: Host): number {
  if (!(error instanceof UsageError || error instanceof ConfigError)) throw error
  if (host.args.includes('--nagios')) {
    // A plugin has no other exit codes, and is read on standard output.
    const { line, exitCode } = pluginFault(error.message)
    host.print(`${line}\n`)
    return exitCode
  }
  const isUsage = error instanceof UsageError
  for (const line of isUsage ? [error.message, 'Try --help.'] : error.faults) host.printError(line)
  return isUsage ? exitCodes.usage : exitCodes.config
}
