// What is said about the process is true, and costs nothing between two scrapes.
import assert from 'node:assert/strict'
import { closeSync, existsSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'
import { createProcessSeries, type Host } from '../../../lib/monitor/process.ts'
import { textOf } from '../../../lib/monitor/prometheus.ts'
import { samplesOf } from '../../support/metrics.ts'

const linux = { skip: existsSync('/proc/self/status') ? false : 'there is no /proc here' }

/** What the rows say whenever it is called. */
function stage(folder = '/proc/self', host: Host = process) {
  const rows = createProcessSeries({ host, date: () => new Date(), now: () => performance.now(), folder })
  return () => samplesOf(rows.map(textOf).join(''))
}

function assertNear(found: number | undefined, value: number, slack: number) {
  assert.ok(found !== undefined && Math.abs(found - value) <= slack, `${found}, expected ${value}`)
}

test('processor time, memory, start and version are those of this process', () => {
  const shown = stage()()
  const { user, system } = process.cpuUsage()
  assertNear(shown.get('process_cpu_user_seconds_total'), user / 1e6, 1)
  assertNear(shown.get('process_cpu_system_seconds_total'), system / 1e6, 1)
  assertNear(shown.get('process_cpu_seconds_total'), (user + system) / 1e6, 1)
  assertNear(shown.get('process_start_time_seconds'), Date.now() / 1_000 - process.uptime(), 1)
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage()
  assertNear(shown.get('process_resident_memory_bytes'), rss, 20e6)
  assertNear(shown.get('nodejs_heap_size_total_bytes'), heapTotal, 20e6)
  assertNear(shown.get('nodejs_heap_size_used_bytes'), heapUsed, 20e6)
  assertNear(shown.get('nodejs_external_memory_bytes'), external, 20e6)
  const [major, minor, patch] = process.versions.node.split('.')
  const labels = `version="${process.version}",major="${major}",minor="${minor}",patch="${patch}"`
  assert.equal(shown.get(`nodejs_version_info{${labels}}`), 1)
})

test('every space of the heap has three sizes', () => {
  const shown = stage()()
  for (const { space_name } of getHeapSpaceStatistics()) {
    for (const size of ['total', 'used', 'available']) {
      const name = `nodejs_heap_space_size_${size}_bytes{space="${space_name.replace('_space', '')}"}`
      assert.ok(shown.has(name), name)
    }
  }
})

test('what Linux alone tells: memory that is mapped, descriptors and their limit', linux, () => {
  const shown = stage()
  const before = shown().get('process_open_fds') ?? 0
  const files = Array.from({ length: 5 }, () => openSync('/dev/null', 'r'))
  const opened = shown().get('process_open_fds')
  for (const file of files) closeSync(file)
  assert.equal(opened, before + 5)
  assert.ok((shown().get('process_max_fds') ?? 0) > before)
  const resident = shown().get('process_resident_memory_bytes') ?? 0
  assert.ok((shown().get('process_virtual_memory_bytes') ?? 0) > resident)
  assert.ok((shown().get('process_heap_bytes') ?? 0) > 1e6)
})

test('where nobody tells these, they are left out, and the rest is there', () => {
  const names = [...stage('/nowhere')().keys()].map(key => key.replace(/\{.*/, ''))
  for (const name of ['virtual_memory_bytes', 'heap_bytes', 'open_fds', 'max_fds']) {
    assert.ok(!names.includes(`process_${name}`), name)
  }
  assert.ok(names.includes('process_resident_memory_bytes'))
})

test('the lag of the event loop is measured once a scrape, and shown by the next', async () => {
  const shown = stage()
  assert.equal(shown().get('nodejs_eventloop_lag_seconds'), undefined)
  const stalledAt = performance.now()
  while (performance.now() - stalledAt < 30);
  await turn()
  assert.ok((shown().get('nodejs_eventloop_lag_seconds') ?? 0) >= 0.03)
})

test('sockets and servers are handles, what is under way is a request, timers are neither', () => {
  const resources = {
    handle: ['TCPSocketWrap', 'TCPServerWrap', 'PipeWrap', 'TTYWrap'],
    request: ['ConnectWrap', 'GetAddrInfoReqWrap', 'WriteWrap', 'FSReqCallback', 'FSReqPromise'],
    neither: ['Timeout', 'Immediate'],
  }
  const all = Object.values(resources).flat()
  const shown = stage(
    '/proc/self',
    Object.assign(Object.create(process), { getActiveResourcesInfo: () => all }),
  )()
  assert.equal(shown.get('nodejs_active_handles_total'), resources.handle.length)
  assert.equal(shown.get('nodejs_active_requests_total'), resources.request.length)
})
