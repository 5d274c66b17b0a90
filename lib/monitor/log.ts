// Writes one line per event, as JSON, as text, or as systemd's journal wants it.
import { type Event, events, type FieldsOf, type Level } from './events.ts'

/**
 * Writes one event. Its level comes from the table of events. `message` is for people, `fields` are for machines;
 * neither may hold a secret.
 */
export type Log = <Name extends Event>(event: Name, message: string, fields?: FieldsOf<Name>) => void

export interface LogOptions {
  /** Events below this level are not written. */
  readonly level: Level
  /** `journal` is text with syslog's priority. The journal itself adds the time. */
  readonly format: 'text' | 'json' | 'journal'
  /** Wall clock, for the time of the line. */
  readonly date: () => Date
  /** Writes the line, or returns false if the reader has stalled and lines pile up. */
  readonly write: (line: string) => boolean
}

const ranks: Readonly<Record<Level, number>> = { info: 0, warn: 1, error: 2 }
/** The numbers of sd-daemon(3). */
const priorities: Readonly<Record<Level, number>> = { info: 6, warn: 4, error: 3 }

/** Makes a log. It counts the lines that `write` refuses, and says how many were dropped in the next line that is written. */
export function createLog({ level: least, format, date, write }: LogOptions): Log {
  let dropped = 0
  return (event, message, fields) => {
    const { level } = events[event]
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
      // Part of a message may come from the database server: it must not begin another line or control a terminal.
      const oneLine = message.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
      return `${oneLine}${dropped ? ` (lines dropped before: ${dropped})` : ''}`
    }
  }
}
