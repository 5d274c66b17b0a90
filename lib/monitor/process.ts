// Shows what the process uses at /metrics, under the names that prom-client gives them.
import { readdirSync, readFileSync } from 'node:fs'
import { row, type Series } from './prometheus.ts'

/** The part of Node's `process` that is used. */
export type Host = Pick<NodeJS.Process, 'cpuUsage' | 'memoryUsage' | 'uptime'>

export interface ProcessOptions {
  readonly host: Host
  /** Wall clock. */
  readonly date: () => Date
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Linux describes the process in this folder: /proc/self. Where it is missing, the rows that need it are absent. */
  readonly folder: string
}

/** Makes the rows. They cost nothing between two scrapes: there is no timer and no observer. */
export function createProcessSeries({ host, date, now, folder }: ProcessOptions): readonly Series[] {
  const startedAt = date().getTime() / 1_000 - host.uptime()
  let lagSeconds: number | undefined

  return [
    row('process_cpu_user_seconds_total', 'CPU time in user mode.', () => host.cpuUsage().user / 1e6),
    row('process_cpu_system_seconds_total', 'CPU time in the kernel.', () => host.cpuUsage().system / 1e6),
    row('process_cpu_seconds_total', 'CPU time, user and system.', cpuSeconds),
    row('process_start_time_seconds', 'Unix time when the process started.', () => startedAt),
    row('process_resident_memory_bytes', 'Resident memory.', () => host.memoryUsage.rss()),
    row('process_virtual_memory_bytes', 'Virtual memory. Linux only.', virtualMemory),
    row('process_open_fds', 'Open file descriptors. Linux only.', openDescriptors),
    row('process_max_fds', 'Limit of open file descriptors. Linux only.', maxDescriptors),
    row(
      'nodejs_eventloop_lag_seconds',
      'Delay of the event loop at the previous scrape. Absent at the first.',
      lag,
    ),
    row('nodejs_heap_size_used_bytes', 'JavaScript heap in use.', () => host.memoryUsage().heapUsed),
  ]

  function cpuSeconds(): number {
    const { user, system } = host.cpuUsage()
    return (user + system) / 1e6
  }

  /** Measuring the lag takes one turn of the event loop, so each scrape shows what the one before measured. */
  function lag(): number | undefined {
    const last = lagSeconds
    const startedAt = now()
    setImmediate(() => {
      lagSeconds = (now() - startedAt) / 1_000
    })
    return last
  }

  function virtualMemory(): number | undefined {
    const kilobytes = find('status', /^VmSize:\s+(\d+)/m)
    return kilobytes === undefined ? undefined : kilobytes * 1_024
  }

  function maxDescriptors(): number | undefined {
    return find('limits', /^Max open files +(\d+)/m)
  }

  function find(file: string, pattern: RegExp): number | undefined {
    try {
      const digits = pattern.exec(readFileSync(`${folder}/${file}`, 'utf8'))?.[1]
      return digits === undefined ? undefined : Number(digits)
    } catch {
      return undefined
    }
  }

  function openDescriptors(): number | undefined {
    try {
      // One of them is open only to read this folder.
      return readdirSync(`${folder}/fd`).length - 1
    } catch {
      return undefined
    }
  }
}
