// The metrics of the process are true, and cost nothing between two scrapes.
import assert from 'node:assert/strict'
import { closeSync, existsSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { createProcessSeries } from '../../../lib/monitor/process.ts'
import { textOf } from '../../../lib/monitor/prometheus.ts'
import { samplesOf } from '../../support/metrics.ts'

const linux = { skip: existsSync('/proc/self/status') ? false : 'there is no /proc here' }

/** A function that reads the rows. */
function stage(folder = '/proc/self') {
  const rows = createProcessSeries({
    host: process,
    date: () => new Date(),
    now: () => performance.now(),
    folder,
  })
  return () => samplesOf(rows.map(textOf).join(''))
}

function assertNear(found: number | undefined, value: number, slack: number) {
  assert.ok(found !== undefined && Math.abs(found - value) <= slack, `${found}, expected ${value}`)
}

test('CPU time, memory and start time are those of this process', () => {
  const shown = stage()()
  const { user, system } = process.cpuUsage()
  assertNear(shown.get('process_cpu_user_seconds_total'), user / 1e6, 1)
  assertNear(shown.get('process_cpu_system_seconds_total'), system / 1e6, 1)
  assertNear(shown.get('process_cpu_seconds_total'), (user + system) / 1e6, 1)
  assertNear(shown.get('process_start_time_seconds'), Date.now() / 1_000 - process.uptime(), 1)
  const { rss, heapUsed } = process.memoryUsage()
  assertNear(shown.get('process_resident_memory_bytes'), rss, 20e6)
  assertNear(shown.get('nodejs_heap_size_used_bytes'), heapUsed, 20e6)
})

test('on Linux: virtual memory, open file descriptors and their limit', linux, () => {
  const shown = stage()
  const before = shown().get('process_open_fds') ?? 0
  const files = Array.from({ length: 5 }, () => openSync('/dev/null', 'r'))
  const opened = shown().get('process_open_fds')
  for (const file of files) closeSync(file)
  assert.equal(opened, before + 5)
  assert.ok((shown().get('process_max_fds') ?? 0) > before)
  const resident = shown().get('process_resident_memory_bytes') ?? 0
  assert.ok((shown().get('process_virtual_memory_bytes') ?? 0) > resident)
})

test('without /proc these three are absent, and the rest is there', () => {
  const names = [...stage('/nowhere')().keys()].map(key => key.replace(/\{.*/, ''))
  for (const name of ['virtual_memory_bytes', 'open_fds', 'max_fds']) {
    assert.ok(!names.includes(`process_${name}`), name)
  }
  assert.ok(names.includes('process_resident_memory_bytes'))
})

test('the lag of the event loop is measured by each scrape, and shown by the next one', async () => {
  const shown = stage()
  assert.equal(shown().get('nodejs_eventloop_lag_seconds'), undefined)
  const stalledAt = performance.now()
  while (performance.now() - stalledAt < 30);
  await turn()
  assert.ok((shown().get('nodejs_eventloop_lag_seconds') ?? 0) >= 0.03)
})
