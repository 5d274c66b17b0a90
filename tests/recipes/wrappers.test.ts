// What other health checks for Node.js answer under faults: the table of docs/library.md is measured here.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import underPressure, { type FastifyUnderPressureOptions } from '@fastify/under-pressure'
import { createTerminus } from '@godaddy/terminus'
import { Controller, Get, Inject, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { HealthCheckService, PrismaHealthIndicator, TerminusModule } from '@nestjs/terminus'
import fastify from 'fastify'
import type pg from 'pg'
import { createHealth, pgPool } from '../../library.ts'
import { fill, occupy, openPool } from '../support/pool.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { openProxy } from '../support/proxy.ts'
import { type Answer, ask } from '../support/server.ts'

/** How a load balancer probes: five requests per second, each of which it gives up after three seconds. */
const probes = { count: 10, intervalMs: 200, giveUpMs: 3_000 }

interface Wrapper {
  readonly path: string
  /** Starts a service that has the wrapper and a pool. */
  start(pool: pg.Pool): Promise<Server>
  /** The part of its answer that says why. */
  why(body: string): unknown
}

/** By the first cell of their row. Each has its default settings, and the check that its README shows. */
const wrappers: Readonly<Record<string, Wrapper>> = {
  '@godaddy/terminus 4.12': {
    path: '/health',
    async start(pool) {
      const server = createServer()
      server.on('request', (_request, response) => response.end())
      createTerminus(server, { healthChecks: { '/health': () => select(pool).then(() => {}) } })
      return server.listen(0)
    },
    why: body => JSON.parse(body).status,
  },
  '@nestjs/terminus 11.1, a ping': {
    path: '/health',
    async start(pool) {
      const app = await NestFactory.create(nestModule(pool), { logger: false })
      await app.listen(0)
      return app.getHttpServer()
    },
    why: body => JSON.parse(body).error.database.message ?? JSON.parse(body).error.database.status,
  },
  '@fastify/under-pressure 9.2, every 500 ms': {
    path: '/',
    start: pool => startFastify(pool, { healthCheckInterval: 500 }),
    why: body => JSON.parse(body).message,
  },
  '@fastify/under-pressure 9.2, its status route': {
    path: '/status',
    start: pool => startFastify(pool, { exposeStatusRoute: true }),
    why: body => JSON.parse(body).message,
  },
  '`createHealth`, `pgPool`': {
    path: '/health',
    start: async pool => createServer(createHealth({ check: pgPool(pool) }).handler).listen(0),
    why: body => JSON.parse(body).error,
  },
}

async function select(pool: pg.Pool) {
  await pool.query('SELECT 1')
  return true
}

async function startFastify(pool: pg.Pool, options: FastifyUnderPressureOptions) {
  const app = fastify()
  app.register(underPressure, { healthCheck: () => select(pool), ...options })
  app.get('/', async () => 'own')
  await app.listen({ port: 0 })
  return app.server
}

/**
 * The indicator for Prisma, because it takes its client as an argument. Those for TypeORM and Sequelize race their query
 * in the same way. Decorators are called, because Node.js cannot strip their syntax.
 */
function nestModule(pool: pg.Pool) {
  const client = {
    // It tries MongoDB first, and expects this error of any other database.
    $runCommandRaw: () => Promise.reject(new Error('Use the mongodb provider')),
    $queryRawUnsafe: (text: string) => pool.query(text),
  }
  class HealthController {
    readonly health: HealthCheckService
    readonly prisma: PrismaHealthIndicator
    constructor(health: HealthCheckService, prisma: PrismaHealthIndicator) {
      this.health = health
      this.prisma = prisma
    }
    check() {
      return this.health.check([() => this.prisma.pingCheck('database', client)])
    }
  }
  class HealthModule {}
  Inject(HealthCheckService)(HealthController, undefined, 0)
  Inject(PrismaHealthIndicator)(HealthController, undefined, 1)
  Get()(HealthController.prototype, 'check', { value: HealthController.prototype.check })
  Controller('health')(HealthController)
  Module({ controllers: [HealthController], imports: [TerminusModule.forRoot({ logger: false })] })(
    HealthModule,
  )
  return HealthModule
}

/** A service with a pool of three connections, for each wrapper. */
async function openServices(t: TestContext, port: number) {
  const services = Object.entries(wrappers).map(async ([name, { path, start, why }]) => {
    const pool = openPool(t, port)
    const server = await start(pool)
    t.after(() => {
      server.close()
      server.closeAllConnections()
    })
    if (!server.listening) await once(server, 'listening')
    const { port: httpPort } = server.address() as AddressInfo
    return { name, pool, why, probe: () => probe(`http://localhost:${httpPort}${path}`) }
  })
  return Promise.all(services)
}

type Service = Awaited<ReturnType<typeof openServices>>[number]

/** One request of the load balancer; undefined if it got no answer. */
async function probe(url: string): Promise<Answer | undefined> {
  try {
    return await ask(url, { signal: AbortSignal.timeout(probes.giveUpMs) })
  } catch (error) {
    assert.equal((error as Error).name, 'AbortError')
    return undefined
  }
}

/** All requests of the load balancer to one service: their answers, in the words of the table. */
async function probeMany({ probe, why }: Service): Promise<string[]> {
  const sent: Promise<Answer | undefined>[] = []
  for (let index = 0; index < probes.count; index += 1) {
    sent.push(probe())
    await pause(probes.intervalMs)
  }
  const answers = await Promise.all(sent)
  const slowest = Math.max(...answers.map(answer => (answer ? answer.answeredAt - answer.sentAt : 0)))
  // A busy machine is slower, never faster.
  const seconds = Math.floor(slowest / 1_000 + 0.25)
  return answers.map(answer => {
    if (answer === undefined) return 'no answer'
    if (answer.status === 200) return '200'
    return `${answer.status}${seconds ? ` after ${seconds} s` : ''}, \`${why(answer.body)}\``
  })
}

/** The cells of one column, by the first cell of their row. */
function documented(column: string): Record<string, string> {
  const text = readFileSync(new URL('../../docs/library.md', import.meta.url), 'utf8')
  const [, section = ''] = text.split('\n## Other health checks under faults\n')
  const [header = [], ...rows] = [...section.matchAll(/^\| (.*) \|$/gm)].map(([, row = '']) =>
    row.split(' | '),
  )
  const index = header.indexOf(column)
  return Object.fromEntries(rows.map(row => [row[0] ?? '', row[index] ?? '']))
}

/** Runs `measure` for all services at the same time. Gives the cells that a column should have. */
async function cellsOf(services: readonly Service[], measure: (service: Service) => unknown) {
  const cells = services.map(async service => [service.name, String(await measure(service))])
  return Object.fromEntries(await Promise.all(cells))
}

/** All answers, which should be the same, in one cell. */
const probeAll = async (service: Service) => [...new Set(await probeMany(service))].join(' or ')
const statusOf = async ({ probe }: Service) => (await probe())?.status ?? 'no answer'

// Each test undoes its fault before it compares: a pool in which queries wait cannot end.
describe('wrappers', () => {
  let server: Postgres
  before(async () => {
    server = await openPostgres()
  })
  after(() => server?.close())

  test('frozen: what each wrapper answers, and takes of the pool, is as documented', async t => {
    const services = await openServices(t, server.port)
    await Promise.all(services.map(({ pool }) => fill(pool)))
    server.freeze()
    const answers = await cellsOf(services, probeAll)
    const taken = await cellsOf(services, ({ pool }) => `${pool.taken()} of 3`)
    server.thaw()
    const first = await cellsOf(services, statusOf)
    assert.deepEqual(answers, documented('frozen'))
    assert.deepEqual(taken, documented('connections taken'))
    assert.deepEqual([...new Set(Object.values(first))], ['200'])
  })

  test('refused: what each wrapper answers is as documented', async t => {
    const services = await openServices(t, server.port)
    await server.stop('immediate')
    // The last answer, because an interval reports the fault with a delay.
    const answers = await cellsOf(services, async service => (await probeMany(service)).at(-1))
    await server.start()
    assert.deepEqual(answers, documented('refused'))
  })

  test('exhausted: what each wrapper answers, and puts into the queue of the pool, is as documented', async t => {
    const services = await openServices(t, server.port)
    const frees = await Promise.all(services.map(({ pool }) => occupy(pool)))
    const answers = await cellsOf(services, probeAll)
    const waiting = await cellsOf(services, ({ pool }) => pool.waitingCount)
    for (const free of frees) free()
    const first = await cellsOf(services, statusOf)
    assert.deepEqual(answers, documented('exhausted'))
    assert.deepEqual(waiting, documented('places in the queue'))
    assert.deepEqual([...new Set(Object.values(first))], ['200'])
  })

  test('the network fails and recovers: whether the service works again is as documented', async t => {
    const proxy = await openProxy(server.port)
    t.after(() => proxy.close())
    const services = await openServices(t, proxy.port)
    proxy.stallOpen()
    await proxy.treat('swallow')
    await Promise.all(services.map(probeMany))
    await proxy.treat('pass')
    const outcomes = await cellsOf(services, async service => {
      const works = service.pool.query('SELECT 1').then(() => 'works')
      works.catch(() => {})
      const outcome = await Promise.race([works, pause(probes.giveUpMs, 'hangs', { ref: false })])
      return `${outcome}, ${await statusOf(service)}`
    })
    assert.deepEqual(outcomes, documented('after an outage'))
  })
})
