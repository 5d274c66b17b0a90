// 5,000 clients at the same time while the database is healthy, frozen and healthy again.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Asked, openClients } from '../../bench/clients.ts'
import { openPostgres } from '../support/postgres.ts'
import { startServer } from '../support/server.ts'

const count = 5_000
const timeoutMs = 2_000
/** For a machine that has other work. */
const slackMs = 1_000

/** The limit of descriptors, which Node raises to the hard limit. */
function descriptors(): number {
  if (process.platform !== 'linux') return 0
  return Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1])
}

const skip = descriptors() < count + 500 && 'it needs Linux and 5,500 descriptors'
test('5,000 clients through a freeze: 200 or 503, each in time, none lost', { skip }, async t => {
  const database = await openPostgres()
  t.after(() => database.close())
  const server = await startServer({ DATABASE_URL: database.url, HEALTH_TIMEOUT_MS: `${timeoutMs}` })
  t.after(() => server.stop())
  const openFiles = () => readdirSync(`/proc/${server.child.pid}/fd`).length
  const openBefore = openFiles()
  const stalls = monitorEventLoopDelay({ resolution: 10 })
  stalls.enable()
  const clients = openClients(Number(new URL(server.origin).port), count, 4_000)
  t.after(() => clients.close())
  const all: Asked[] = []
  const take = () => {
    const taken = clients.take()
    all.push(...taken)
    return taken
  }
  /** Resolves when so many more have been answered with `status`. */
  const answered = async (status: number, least: number) => {
    for (let seen = 0; seen < least; await sleep(20)) {
      seen += take().filter(answer => answer.status === status).length
    }
  }

  await answered(200, count)
  // How long so many answers take on this machine, with everything else that runs on it.
  const usualMs = Math.max(...all.map(({ tookMs }) => tookMs))
  database.freeze()
  await answered(503, count / 2)
  database.thaw()
  const thawedAt = performance.now()
  await answered(200, count)
  const unanswered = await clients.quiet(timeoutMs + slackMs + usualMs)
  take()
  // An answer that arrives while this process reads 5,000 sockets looks late without being so.
  const patienceMs = timeoutMs + slackMs + usualMs + stalls.max / 1e6

  const { connected, errors } = clients
  assert.deepEqual({ connected, errors, unanswered }, { connected: count, errors: 0, unanswered: 0 })
  assert.deepEqual([...new Set(all.map(({ status }) => status))].sort(), [200, 503])
  const late = all.filter(({ tookMs }) => tookMs > patienceMs)
  assert.deepEqual(late, [])
  // Nothing is promised of the database's own first second after a freeze.
  const still = all.filter(({ status, sentAt }) => status === 503 && sentAt > thawedAt + 1_000 + usualMs)
  assert.deepEqual(still, [])

  clients.close()
  while (openFiles() > openBefore + 2) await sleep(20)
})
