// Prometheus' text format, byte for byte.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createHistogram, createTally, labelsOf, row, textOf } from '../../../lib/monitor/prometheus.ts'

test('textOf() writes help, type and a line for each sample', () => {
  assert.equal(
    textOf(row('x_total', 'How many.', () => 3)),
    '# HELP x_total How many.\n# TYPE x_total counter\nx_total 3\n',
  )
  const samples = () =>
    [
      ['{a="1"}', 0.25],
      ['{a="2"}', 1e21],
    ] as const
  assert.equal(
    textOf({ name: 'y', type: 'gauge', help: 'Why.', samples }),
    '# HELP y Why.\n# TYPE y gauge\ny{a="1"} 0.25\ny{a="2"} 1e+21\n',
  )
})

test('textOf() writes nothing for a metric without samples', () => {
  assert.equal(textOf(row('x', 'X.', () => undefined)), '')
  assert.equal(textOf(row('x', 'X.', () => 0)), '# HELP x X.\n# TYPE x gauge\nx 0\n')
})

test('textOf() escapes backslashes and line ends in the help, but not quotes', () => {
  assert.equal(textOf(row('x', 'a\\b\n"c"', () => 1)), '# HELP x a\\\\b\\n"c"\n# TYPE x gauge\nx 1\n')
})

test('labelsOf() escapes backslashes, line ends and quotes in values', () => {
  assert.equal(labelsOf({}), '')
  assert.equal(labelsOf({ path: '/health', code: 200 }), '{path="/health",code="200"}')
  assert.equal(labelsOf({ a: '\\"\n\\n' }), '{a="\\\\\\"\\n\\\\n"}')
})

test('row() takes its type from the name', () => {
  assert.equal(row('x_total', '', () => 1).type, 'counter')
  assert.equal(row('x_total_bytes', '', () => 1).type, 'gauge')
})

test('createTally() shows every key from the start, and counts unknown keys as the last one', () => {
  const keys: readonly string[] = ['a', 'b', 'other']
  const tally = createTally(keys)
  const shown = () => tally.samples(key => key)
  assert.deepEqual(shown(), [
    ['a', 0],
    ['b', 0],
    ['other', 0],
  ])
  for (const key of ['b', 'b', 'c', 'constructor', 'other']) tally.count(key)
  assert.deepEqual(shown(), [
    ['a', 0],
    ['b', 2],
    ['other', 3],
  ])
})

test('createHistogram() counts a duration in every bucket whose edge is not below it', () => {
  const histogram = createHistogram()
  for (const seconds of [0, 0.001, 0.05, 0.0500001, 0.1, 2.003, 11]) histogram.observe(seconds)
  const samples = new Map(histogram.samples({ path: '/health' }))
  const upTo = (le: string) => samples.get(`_bucket{path="/health",le="${le}"}`)
  const edges = ['0.001', '0.0025', '0.025', '0.05', '0.1', '1', '2.5', '10', '+Inf']
  assert.deepEqual(edges.map(upTo), [2, 2, 2, 3, 5, 5, 6, 6, 7])
  assert.equal(samples.get('_count{path="/health"}'), 7)
  assert.ok(Math.abs((samples.get('_sum{path="/health"}') ?? 0) - 13.2040001) < 1e-9)
})

test('createHistogram() shows its buckets in rising order, then +Inf, sum and count', () => {
  const names = createHistogram()
    .samples({})
    .map(([after]) => after)
  const edges = names.slice(0, -3).map(name => Number(/^_bucket\{le="(.+)"\}$/.exec(name)?.[1]))
  assert.deepEqual(
    edges,
    edges.toSorted((a, b) => a - b),
  )
  assert.ok(edges.length > 5 && edges.every(Number.isFinite))
  assert.deepEqual(names.slice(-3), ['_bucket{le="+Inf"}', '_sum', '_count'])
})
