// Counts, sorts by duration, and writes the text format of Prometheus.

/** One metric at /metrics. */
export interface Series {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** One or two sentences: what it means, and its unit where the name has none. */
  readonly help: string
  /** The values now. Without a sample the metric is absent. */
  readonly samples: () => Samples
}

/** What follows the name (nothing, labels, or a suffix and labels), and the value. */
export type Samples = readonly (readonly [after: string, value: number])[]

/** Makes a metric of one number, absent while the number is undefined. It is a counter if its name ends in `_total`, else a gauge. */
export function row(name: string, help: string, value: () => number | undefined): Series {
  const samples = () => {
    const known = value()
    return known === undefined ? [] : ([['', known]] as const)
  }
  return { name, type: name.endsWith('_total') ? 'counter' : 'gauge', help, samples }
}

/** Writes labels: `{a="b",c="d"}`, or nothing if there are none. */
export function labelsOf(labels: Readonly<Record<string, string | number>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${escaped(String(value), /[\\\n"]/g)}"`,
  )
  return pairs.length === 0 ? '' : `{${pairs.join()}}`
}

/** Writes a metric in Prometheus' text format 0.0.4. Empty if it has no samples. */
export function textOf({ name, type, help, samples }: Series): string {
  const lines = samples().map(([after, value]) => `${name}${after} ${value}\n`)
  if (lines.length === 0) return ''
  return `# HELP ${name} ${escaped(help, /[\\\n]/g)}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function escaped(text: string, special: RegExp): string {
  return text.replace(special, mark => (mark === '\n' ? '\\n' : `\\${mark}`))
}

/** Makes counters, one for each of `keys`, from 0. A key that is not in the list counts as the last one. */
export function createTally<Key extends string | number>(keys: readonly Key[]) {
  const counts = keys.map(() => 0)
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

/**
 * Upper edges of the buckets, seconds. The page and the alerts use 0.05 and 0.1; 2.5 takes what ends at the default
 * deadline of 2 s.
 */
const edges = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Makes a histogram of durations in seconds. */
export function createHistogram() {
  /** Those up to each edge but above the edge before. The last is for those above all edges. */
  const counts = [...edges, Number.POSITIVE_INFINITY].map(() => 0)
  let sum = 0
  return { observe, samples }

  function observe(seconds: number) {
    let slot = 0
    while (seconds > (edges[slot] ?? Number.POSITIVE_INFINITY)) slot += 1
    counts[slot] = (counts[slot] ?? 0) + 1
    sum += seconds
  }

  function samples(labels: Readonly<Record<string, string>>): Samples {
    let total = 0
    const buckets = [...edges, '+Inf'].map((le, slot) => {
      total += counts[slot] ?? 0
      return [`_bucket${labelsOf({ ...labels, le })}`, total] as const
    })
    return [...buckets, [`_sum${labelsOf(labels)}`, sum], [`_count${labelsOf(labels)}`, total]]
  }
}
