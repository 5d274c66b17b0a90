// One line an event, and never one a probe.

export type Level = 'info' | 'warn' | 'error'

/** Writes one event. `message` is for people, `fields` for machines; neither may hold a secret. */
export type Log = (
  level: Level,
  event: string,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void

export interface LogOptions {
  readonly level: Level
  /** `journal` is text with syslog's priority, for a journal that keeps the time and the level itself. */
  readonly format: 'text' | 'json' | 'journal'
  /** Wall clock, for the time of the line. */
  readonly date: () => Date
  /** Takes the line, or returns false when the reader has stalled and lines pile up. */
  readonly write: (line: string) => boolean
}

const ranks: Readonly<Record<Level, number>> = { info: 0, warn: 1, error: 2 }
/** sd-daemon(3). */
const priorities: Readonly<Record<Level, number>> = { info: 6, warn: 4, error: 3 }

/** Makes a log. Lines that `write` does not take are dropped and counted; the next line that goes out says how many. */
export function createLog({ level: least, format, date, write }: LogOptions): Log {
  let dropped = 0
  return (level, event, message, fields = {}) => {
    if (ranks[level] < ranks[least]) return
    const time = date().toISOString()
    const line = format === 'json' ? json(time) : format === 'journal' ? journal() : text(time)
    dropped = write(`${line}\n`) ? 0 : dropped + 1

    function json(time: string) {
      return JSON.stringify({ time, level, event, message, ...fields, ...(dropped && { dropped }) })
    }

    function text(time: string) {
      return `${time} ${level.padEnd(5)} ${words()}`
    }

    function journal() {
      return `<${priorities[level]}>${words()}`
    }

    function words() {
      return `${message}${dropped ? ` (lines dropped before: ${dropped})` : ''}`
    }
  }
}
