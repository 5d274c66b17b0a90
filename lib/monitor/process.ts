// What the process tells of itself at /metrics, under the names that dashboards for Node.js read.
import { readdirSync, readFileSync } from 'node:fs'
import { labelsOf, row, type Series } from './prometheus.ts'

/** What is asked of Node's `process`. */
export type Host = Pick<
  NodeJS.Process,
  'cpuUsage' | 'memoryUsage' | 'uptime' | 'version' | 'getActiveResourcesInfo' | 'getBuiltinModule'
>

export interface ProcessOptions {
  readonly host: Host
  /** The wall clock. */
  readonly date: () => Date
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Where Linux tells of the process: /proc/self. What only Linux tells is not shown where that is missing. */
  readonly folder: string
}

/** Makes the rows, called as the client library for Node.js (prom-client) calls them. They cost only whoever scrapes: no timer and no observer runs in between. */
export function createProcessSeries({ host, date, now, folder }: ProcessOptions): readonly Series[] {
  const startedAt = date().getTime() / 1_000 - host.uptime()
  let lagSeconds: number | undefined
  const cpuSeconds = () => host.cpuUsage().user / 1e6 + host.cpuUsage().system / 1e6
  const [version = '', major = '', minor = '', patch = ''] = /v(\d+)\.(\d+)\.(\d+).*/.exec(host.version) ?? []

  return [
    row('process_cpu_user_seconds_total', 'CPU time in user mode.', () => host.cpuUsage().user / 1e6),
    row('process_cpu_system_seconds_total', 'CPU time in the kernel.', () => host.cpuUsage().system / 1e6),
    row('process_cpu_seconds_total', 'CPU time, user and system.', cpuSeconds),
    row('process_start_time_seconds', 'When the process started.', () => startedAt),
    row('process_resident_memory_bytes', 'Memory in RAM.', () => host.memoryUsage.rss()),
    row('process_virtual_memory_bytes', 'Memory that is mapped.', () => kilobytes(/^VmSize:\s+(\d+)/m)),
    row('process_heap_bytes', 'Memory that is mapped for data.', () => kilobytes(/^VmData:\s+(\d+)/m)),
    row('process_open_fds', 'Open file descriptors.', openDescriptors),
    row('process_max_fds', 'How many may be open.', () => find('limits', /^Max open files +(\d+)/m)),
    row('nodejs_eventloop_lag_seconds', 'How late the event loop was after the last scrape.', lag),
    active('nodejs_active_handles_total', 'Sockets, servers and pipes that are open.', 'handle'),
    active('nodejs_active_requests_total', 'Connects, look-ups and writes under way.', 'request'),
    row('nodejs_heap_size_total_bytes', 'The JavaScript heap.', () => host.memoryUsage().heapTotal),
    row('nodejs_heap_size_used_bytes', 'What of it is used.', () => host.memoryUsage().heapUsed),
    row('nodejs_external_memory_bytes', 'Buffers beside the heap.', () => host.memoryUsage().external),
    spaces('nodejs_heap_space_size_total_bytes', 'The spaces of the heap.', 'space_size'),
    spaces('nodejs_heap_space_size_used_bytes', 'What of them is used.', 'space_used_size'),
    spaces('nodejs_heap_space_size_available_bytes', 'What of them is free.', 'space_available_size'),
    {
      name: 'nodejs_version_info',
      type: 'gauge',
      help: 'The version of Node.js.',
      samples: () => [[labelsOf({ version, major, minor, patch }), 1]],
    },
  ]

  function spaces(
    name: string,
    help: string,
    key: 'space_size' | 'space_used_size' | 'space_available_size',
  ): Series {
    // Importing v8 takes 4 ms, which the start would have to pay.
    const all = () => host.getBuiltinModule('node:v8').getHeapSpaceStatistics()
    const labels = (space: string) => labelsOf({ space: space.replace(/_space$/, '') })
    return {
      name,
      type: 'gauge',
      help,
      samples: () => all().map(each => [labels(each.space_name), each[key]]),
    }
  }

  /** A look at the lag needs a turn of the event loop: each scrape takes one, and the next one shows it. */
  function lag(): number | undefined {
    const last = lagSeconds
    const askedAt = now()
    setImmediate(() => {
      lagSeconds = (now() - askedAt) / 1_000
    })
    return last
  }

  /** Untyped: what these stock names say is no counter, and what it is may not be called `total`. */
  function active(name: string, help: string, kind: 'handle' | 'request'): Series {
    const count = () => host.getActiveResourcesInfo().filter(resource => kindOf(resource) === kind).length
    return { ...row(name, help, count), type: 'untyped' }
  }

  function kilobytes(pattern: RegExp): number | undefined {
    const count = find('status', pattern)
    return count === undefined ? undefined : count * 1_024
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
      // Without the one that lists them.
      return readdirSync(`${folder}/fd`).length - 1
    } catch {
      return undefined
    }
  }
}

/** Timers, which both stock names leave out, are neither. */
function kindOf(resource: string): 'handle' | 'request' | 'timer' {
  if (/^(Timeout|Immediate)$/.test(resource)) return 'timer'
  return /Req|Connect|Write|Shutdown/.test(resource) ? 'request' : 'handle'
}
