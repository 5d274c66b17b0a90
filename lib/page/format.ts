// Formats durations, percentages and times for people.

/** A duration in milliseconds: `0.4 s`, `12 s`, `5 min 12 s`, `3 h 12 min`, `2 d 3 h`. */
export function durationOf(ms: number): string {
  if (ms < 9_950) return unbroken(`${(ms / 1000).toFixed(1)} s`)
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return unbroken(`${seconds} s`)
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return unbroken(`${minutes} min ${seconds % 60} s`)
  const hours = Math.floor(minutes / 60)
  return unbroken(
    hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`,
  )
}

/** The latency of a check in milliseconds: `0.9 ms`, `312 ms`. */
export function latencyOf(ms: number): string {
  return unbroken(`${ms < 9.95 ? ms.toFixed(1) : Math.round(ms)} ms`)
}

/** A part of a whole in percent. Rounded down, so that only the whole is 100 %. */
export function percentOf(part: number, whole: number): string {
  return unbroken(`${Math.floor((part / whole) * 1000) / 10} %`)
}

/** A time as `14:03:22 UTC`, with the date unless that is the date of `today`. */
export function instantOf(date: Date, today: Date): string {
  const [day, time] = date.toISOString().split('T') as [string, string]
  const isToday = today.toISOString().startsWith(day)
  return `${isToday ? '' : `${day} `}${time.slice(0, 8)} UTC`
}

/** Non-breaking spaces keep a number and its unit on one line. */
function unbroken(text: string): string {
  return text.replaceAll(' ', '\u00a0')
}
