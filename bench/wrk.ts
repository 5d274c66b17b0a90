// Runs wrk, Debian's HTTP load generator, and reads its report.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { BenchError } from './program.ts'

export interface Load {
  readonly answers: number
  /** Answers a second. */
  readonly rate: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Connections that failed, answers that did not come or were no 2xx. */
  readonly errors: number
}

/** Throws when wrk is not installed. */
export async function findWrk() {
  // Without arguments it prints its usage and ends with 1.
  const { code } = await runWrk([]).catch(error => error)
  if (code === 'ENOENT') throw new BenchError('wrk is not installed: apt-get install wrk')
}

/** One thread of load for `seconds`, every client with a connection that it keeps. */
export async function load(url: string, clients: number, seconds: number): Promise<Load> {
  const { stdout } = await runWrk(['-t1', `-c${clients}`, `-d${seconds}s`, '--latency', '--timeout=10s', url])
  return readReport(stdout)
}

export function readReport(report: string): Load {
  const number = (pattern: RegExp) => Number(pattern.exec(report)?.[1] ?? 0)
  const socketErrors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(report)
  const failed = (socketErrors ?? []).slice(1).reduce((sum, count) => sum + Number(count), 0)
  return {
    answers: number(/(\d+) requests in/),
    rate: number(/Requests\/sec:\s+([\d.]+)/),
    p50Ms: milliseconds(report, '50%'),
    p99Ms: milliseconds(report, '99%'),
    errors: failed + number(/Non-2xx or 3xx responses: (\d+)/),
  }
}

function milliseconds(report: string, percentile: string): number {
  const [, value, unit] = new RegExp(`^\\s+${percentile}\\s+([\\d.]+)(us|ms|s|m)$`, 'm').exec(report) ?? []
  return Number(value) * ({ us: 0.001, ms: 1, s: 1_000, m: 60_000 }[unit ?? ''] ?? Number.NaN)
}

function runWrk(args: readonly string[]) {
  return promisify(execFile)('wrk', args)
}
