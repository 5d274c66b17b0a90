// The clients of the chaos run: each asks at its own pace, and records the answers.

import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { alive, repliesOf } from '../../lib/health/reply.ts'

import { ask } from '../support/server.ts'
import type { Exchange } from './judge.ts'

interface Client {
  readonly name: string
  readonly count: number
  readonly path: '/health' | '/readyz' | '/livez' | '/primary'
  readonly pauseMs: number
  readonly keepsConnection: boolean
  /** Sends its next request before it has an answer, so that requests arrive at any moment. */
  readonly keepsAsking?: true
  /** Leaves without an answer after so many milliseconds. */
  readonly patienceMs?: number
}

const clients: readonly Client[] = [
  { name: 'balancer', count: 4, path: '/health', pauseMs: 150, keepsConnection: false },
  { name: 'crowd', count: 8, path: '/readyz', pauseMs: 25, keepsConnection: true },
  { name: 'monitor', count: 1, path: '/health', pauseMs: 1_000, keepsConnection: false },
  { name: 'fleet', count: 1, path: '/health', pauseMs: 30, keepsConnection: true, keepsAsking: true },
  { name: 'kubelet', count: 1, path: '/livez', pauseMs: 200, keepsConnection: false },
  { name: 'impatient', count: 2, path: '/health', pauseMs: 100, keepsConnection: true, patienceMs: 5 },
]

export interface Crowd {
  readonly exchanges: readonly Exchange[]
  /** How many requests ended because the client left. */
  readonly abandoned: number
  /** Sends nothing more. Resolves when all requests have ended and all connections are closed. */
  stop(): Promise<void>
}

/** Longer than any answer may take, pauses included (milliseconds). A client without an answer by then reports that. */
const noAnswerMs = 10_000

/** Who asks whether the server takes writes, where there is a pair. */
export const router: Client = {
  name: 'router',
  count: 2,
  path: '/primary',
  pauseMs: 60,
  keepsConnection: true,
}

/** Starts all clients, and `more`, against `origin`. */
export function startCrowd(origin: string, more: readonly Client[] = []): Crowd {
  const exchanges: Exchange[] = []
  const agent = new http.Agent({ keepAlive: true })
  let abandoned = 0
  let stopping = false
  const running = [...clients, ...more].flatMap(client =>
    Array.from({ length: client.count }, () => run(client)),
  )
  return {
    exchanges,
    get abandoned() {
      return abandoned
    },
    async stop() {
      stopping = true
      await Promise.all(running)
      agent.destroy()
    },
  }

  async function run(client: Client) {
    const pending = new Set<Promise<void>>()
    while (!stopping) {
      const ended = exchange(client)
      pending.add(ended)
      ended.finally(() => pending.delete(ended))
      if (!client.keepsAsking) await ended
      await sleep(client.pauseMs)
    }
    await Promise.all(pending)
  }

  async function exchange({ name, path, keepsConnection, patienceMs }: Client) {
    const sentAt = performance.now()
    const signal = AbortSignal.timeout(patienceMs ?? noAnswerMs)
    const record = (answer: string) =>
      exchanges.push({ client: name, path, sentAt, answeredAt: performance.now(), answer })
    try {
      const { status, body } = await ask(origin + path, { agent: keepsConnection && agent, signal })
      record(words.get(`${status} ${body}`) ?? `${status} ${body}`)
    } catch (error) {
      if (patienceMs !== undefined && signal.aborted) abandoned += 1
      else record(`no answer: ${error instanceof Error && 'code' in error ? error.code : error}`)
    }
  }
}

/** What each answer means, by its status and its exact bytes. */
const words: ReadonlyMap<string, string> = new Map(
  Object.entries({ ...repliesOf(503), alive }).map(([word, { status, body }]) => [`${status} ${body}`, word]),
)
