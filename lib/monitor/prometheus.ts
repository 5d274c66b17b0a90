// Counts, sorts and writes what monitoring reads: the text format of Prometheus.

/** One row of the table. Whatever is counted stands in a row, so none can be counted and not shown. */
export interface Series {
  readonly name: string
  /** `untyped` is for stock names that break Prometheus' rules for names. */
  readonly type: 'counter' | 'gauge' | 'histogram' | 'untyped'
  /** One sentence. */
  readonly help: string
  /** What is known now; a series of which nothing is known is not shown. */
  readonly samples: () => Samples
}

/** What follows the name (nothing, labels, or a suffix and labels), and the value. */
export type Samples = readonly (readonly [after: string, value: number])[]

/** A series of one number, as far as that is known; its name says whether it is a counter or a gauge. */
export function row(name: string, help: string, value: () => number | undefined): Series {
  const samples = () => {
    const known = value()
    return known === undefined ? [] : ([['', known]] as const)
  }
  return { name, type: name.endsWith('_total') ? 'counter' : 'gauge', help, samples }
}

/** What follows a series' name: `{a="b",c="d"}`, or nothing. */
export function labelsOf(labels: Readonly<Record<string, string | number>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${escaped(String(value), /[\\\n"]/g)}"`,
  )
  return pairs.length === 0 ? '' : `{${pairs.join()}}`
}

/** The series in Prometheus' text format 0.0.4; nothing when it has no samples. */
export function textOf({ name, type, help, samples }: Series): string {
  const lines = samples().map(([after, value]) => `${name}${after} ${value}\n`)
  if (lines.length === 0) return ''
  return `# HELP ${name} ${escaped(help, /[\\\n]/g)}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function escaped(text: string, special: RegExp): string {
  return text.replace(special, mark => (mark === '\n' ? '\\n' : `\\${mark}`))
}

/** Counts `keys`, and whatever is none of them as the last. Its numbers live in one array: no garbage. */
export function createTally<Key extends string | number>(keys: readonly Key[]) {
  const counts = new Float64Array(keys.length)
  return { count, samples }

  function count(key: Key) {
    const index = keys.indexOf(key)
    const slot = index < 0 ? keys.length - 1 : index
    counts[slot] = (counts[slot] ?? 0) + 1
  }

  function samples(after: (key: Key) => string): Samples {
    return keys.map((key, slot) => [after(key), counts[slot] ?? 0])
  }
}

/** Seconds: 0.05 and 0.1, the lines of the page and the alert rules, among them; 2.5 holds what ends at the deadline of 2 s. */
const edges = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Sorts durations (seconds) by size. Its numbers live in two arrays: no garbage. */
export function createHistogram() {
  /** How many were up to each edge but above the one before; the last is for those above all. */
  const counts = new Float64Array(edges.length + 1)
  const sum = new Float64Array(1)
  return { observe, samples }

  function observe(seconds: number) {
    let slot = 0
    while (seconds > (edges[slot] ?? Number.POSITIVE_INFINITY)) slot += 1
    counts[slot] = (counts[slot] ?? 0) + 1
    sum[0] = (sum[0] ?? 0) + seconds
  }

  function samples(labels: Readonly<Record<string, string>>): Samples {
    let total = 0
    const buckets = [...edges, '+Inf'].map((le, slot) => {
      total += counts[slot] ?? 0
      return [`_bucket${labelsOf({ ...labels, le })}`, total] as const
    })
    return [...buckets, [`_sum${labelsOf(labels)}`, sum[0] ?? 0], [`_count${labelsOf(labels)}`, total]]
  }
}
