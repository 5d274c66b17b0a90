// Handles signals: some stop the server, others end it immediately, and SIGUSR1 does nothing.
import { constants } from 'node:os'
import type { Log } from '../monitor/log.ts'

/** Signals that stop the server. systemd counts a death by SIGHUP as a clean exit, so it must be a real stop. */
const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
export type StopSignal = (typeof stopSignals)[number]

/**
 * Signals whose default is to end the process without a word. Not in this list: signals that Node ignores (SIGPIPE,
 * SIGXFSZ), and signals of the processor, after which no JavaScript can run (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
 * SIGSYS).
 */
const endSignals = [
  'SIGQUIT',
  'SIGABRT',
  'SIGALRM',
  'SIGIO',
  'SIGPROF',
  'SIGPWR',
  'SIGSTKFLT',
  'SIGUSR2',
  'SIGVTALRM',
  'SIGXCPU',
] as const

/** The exit code of a process that a signal ended: 128 and its number. */
export function exitCodeOf(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal]
}

export interface SignalsOptions {
  /** `process`, which gets a listener for each signal. */
  readonly signals: Pick<NodeJS.Process, 'on' | 'listenerCount'>
  /** Stops the server. */
  readonly stop: (signal: StopSignal) => void
  /** Ends the process. */
  readonly exit: (code: number) => void
  readonly log: Log
}

/** Handles all signals that can be handled, until the process ends. */
export function handleSignals({ signals, stop, exit, log }: SignalsOptions): void {
  for (const signal of stopSignals) signals.on(signal, stop)
  for (const signal of endSignals) {
    // Node may use the signal itself: --heapsnapshot-signal, --report-signal.
    if (signals.listenerCount(signal) > 0) continue
    signals.on(signal, () => {
      log('killed', `${signal}: exit ${exitCodeOf(signal)} immediately`, { signal })
      exit(exitCodeOf(signal))
    })
  }
  // Without a listener Node opens the port of its debugger, through which any code can be run.
  signals.on('SIGUSR1', () => {})
}
