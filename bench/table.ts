// What is printed: tables of Markdown, medians, goals, and one line of progress that is written over.

export interface Goal {
  readonly goal: string
  /** What was measured, in the unit of the limit. */
  readonly measured: number
  readonly limit: number
  readonly reached: boolean
}

export function atLeast(goal: string, measured: number, limit: number): Goal {
  return { goal, measured, limit, reached: measured >= limit }
}

export function atMost(goal: string, measured: number, limit: number): Goal {
  return { goal, measured, limit, reached: measured <= limit }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/** Three digits that count, and no more than two decimals. */
export function figure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map((_, column) => (column === 0 ? '---' : '---:')), ...rows]
  return `${lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

export function goalTable(goals: readonly Goal[]): string {
  const rows = goals.map(({ goal, measured, limit, reached }) => [
    goal,
    figure(measured),
    figure(limit),
    reached ? 'reached' : 'not reached',
  ])
  return table(['goal', 'measured', 'limit', ''], rows)
}

/** Says what is going on: on a terminal always in the same line, elsewhere a line for each new `chapter`. */
export function createProgress(stream: NodeJS.WriteStream) {
  let last = ''
  return {
    show(chapter: string, detail = '') {
      if (stream.isTTY) stream.write(`\r\x1b[K${chapter}${detail && `: ${detail}`}`)
      else if (chapter !== last) stream.write(`${chapter}\n`)
      last = chapter
    },
    end() {
      if (stream.isTTY) stream.write('\r\x1b[K')
    },
  }
}

export type Progress = ReturnType<typeof createProgress>
