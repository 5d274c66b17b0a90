// Reports as a monitoring plugin: one line with performance data, and an exit code from 0 to 3.
import type { Finding } from './ask.ts'

export interface PluginResult {
  /** What to print on standard output. */
  readonly line: string
  /** 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. */
  readonly exitCode: 0 | 1 | 2 | 3
}

const words = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const

/**
 * Reports a finding by the guidelines for Nagios plugins. No response is CRITICAL. A response that comes from something
 * other than a health endpoint is UNKNOWN.
 *
 * @param slowMs a healthy response that took longer is a WARNING.
 * @param timeoutMs the longest time a request can take.
 */
export function pluginResultOf(
  { state, line, elapsedMs }: Finding,
  slowMs: number,
  timeoutMs: number,
): PluginResult {
  const slow = elapsedMs > slowMs
  const exitCode = state === 'healthy' ? (slow ? 1 : 0) : state === 'strange' ? 3 : 2
  const text = line.replace(/^. /, '') + (exitCode === 1 ? `, but it took ${Math.round(elapsedMs)} ms` : '')
  // Performance data is 'label'=value[unit];[warning];[critical];[minimum];[maximum].
  const data = `time=${seconds(elapsedMs)}s;${seconds(slowMs)};${seconds(timeoutMs)};0;${seconds(timeoutMs)}`
  return { line: `${plain(exitCode, text)} | ${data}`, exitCode }
}

/** Reports a fault in the command line or the settings, because of which nothing was asked: UNKNOWN. */
export function pluginFault(text: string): PluginResult {
  return { line: plain(3, text), exitCode: 3 }
}

/** A bar would begin the performance data. */
function plain(exitCode: PluginResult['exitCode'], text: string): string {
  return `HEALTH ${words[exitCode]} - ${text.replaceAll('|', '/')}`
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3)
}
