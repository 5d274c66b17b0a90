// Speaks as a monitoring plugin: one line with performance data, and an exit code from 0 to 3.
import type { Finding } from './ask.ts'

export interface PluginResult {
  readonly line: string
  /** 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. */
  readonly exitCode: 0 | 1 | 2 | 3
}

const words = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const

/**
 * A finding by the guidelines of Nagios' plugins: no answer is CRITICAL, somebody else's answer UNKNOWN.
 *
 * @param elapsedMs how long asking took.
 * @param slowMs a healthy answer that took longer is a WARNING.
 * @param timeoutMs the most that asking could take.
 */
export function pluginResultOf(
  { state, line }: Finding,
  elapsedMs: number,
  slowMs: number,
  timeoutMs: number,
): PluginResult {
  const slow = elapsedMs > slowMs
  const exitCode = state === 'healthy' ? (slow ? 1 : 0) : state === 'strange' ? 3 : 2
  const text = line.replace(/^. /, '') + (exitCode === 1 ? `, but it took ${Math.round(elapsedMs)} ms` : '')
  // 'label'=value[unit];[warning];[critical];[least];[most]: a bar in the text would begin it.
  const data = `time=${seconds(elapsedMs)}s;${seconds(slowMs)};${seconds(timeoutMs)};0;${seconds(timeoutMs)}`
  return { line: `${plain(exitCode, text)} | ${data}`, exitCode }
}

/** What could not even be asked: UNKNOWN. */
export function pluginFault(text: string): PluginResult {
  return { line: plain(3, text), exitCode: 3 }
}

function plain(exitCode: PluginResult['exitCode'], text: string): string {
  return `HEALTH ${words[exitCode]} - ${text.replaceAll('|', '/')}`
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3)
}
