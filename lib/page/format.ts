// Writes durations, shares and instants as people read them: a number and its unit stay on one line.

/** Milliseconds as how long something lasted: `0.4 s`, `12 s`, `5 min 12 s`, `3 h 12 min`, `2 d 3 h`. */
export function durationOf(ms: number): string {
  if (ms < 9_950) return joined(`${(ms / 1000).toFixed(1)} s`)
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return joined(`${seconds} s`)
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return joined(`${minutes} min ${seconds % 60} s`)
  const hours = Math.floor(minutes / 60)
  return joined(hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`)
}

/** Milliseconds as how long a check took: `0.9 ms`, `312 ms`. */
export function latencyOf(ms: number): string {
  return joined(`${ms < 9.95 ? ms.toFixed(1) : Math.round(ms)} ms`)
}

/** A share in percent, rounded down: 100 % is said of all, and of nothing less. */
export function percentOf(part: number, whole: number): string {
  return joined(`${Math.floor((part / whole) * 1000) / 10} %`)
}

/** An instant as `14:03:22 UTC`, with its date unless it is that of `today`. */
export function instantOf(date: Date, today: Date): string {
  const [day, time] = date.toISOString().split('T') as [string, string]
  const isToday = today.toISOString().startsWith(day)
  return `${isToday ? '' : `${day} `}${time.slice(0, 8)} UTC`
}

function joined(text: string): string {
  return text.replaceAll(' ', '\u00a0')
}
