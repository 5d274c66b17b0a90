// createHealth() mounted in real frameworks: the same answers everywhere, and other paths stay theirs.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { serve as serveHono } from '@hono/node-server'
import { Controller, Get, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { createHealth, type Health } from '../../library.ts'
import { ask } from '../support/server.ts'

/** Starts an application that mounts the handlers, and has a path of its own: /own. Gives its server. */
const frameworks: Record<string, (health: Health) => Promise<Server>> = {
  async 'node:http'({ handler }) {
    return createServer((request, response) =>
      handler(request, response, () => {
        response.end('own')
      }),
    ).listen(0)
  },
  async 'Express 5'({ handler }) {
    const app = express()
    app.use(handler)
    app.get('/own', (_request, response) => void response.send('own'))
    return app.listen(0)
  },
  async 'Fastify 5'({ handler }) {
    const app = fastify()
    for (const url of ['/health', '/livez']) {
      app.route({
        url,
        method: ['GET', 'HEAD'],
        handler(request, reply) {
          reply.hijack()
          handler(request.raw, reply.raw)
        },
      })
    }
    app.get('/own', async () => 'own')
    await app.listen({ port: 0 })
    return app.server
  },
  async 'Koa 3'({ handler }) {
    const app = new Koa()
    app.use(async (context, next) => {
      if (context.path === '/own') return next()
      context.respond = false
      handler(context.req, context.res)
    })
    app.use(context => {
      context.body = 'own'
    })
    return app.listen(0)
  },
  async 'Hono 4'({ fetch }) {
    const app = new Hono()
    app.get('/own', context => context.text('own'))
    app.all('*', context => fetch(context.req.raw))
    return serveHono({ fetch: app.fetch, port: 0 }) as Server
  },
  async 'NestJS 11'({ handler }) {
    const app = await NestFactory.create(nestModule(), { logger: false })
    app.use(handler)
    await app.listen(0)
    return app.getHttpServer()
  },
}

/** The module of an application with /own. Its decorators are called, because Node.js cannot strip their syntax. */
function nestModule() {
  class Own {
    own() {
      return 'own'
    }
  }
  class AppModule {}
  Get('own')(Own.prototype, 'own', { value: Own.prototype.own })
  Controller()(Own)
  Module({ controllers: [Own] })(AppModule)
  return AppModule
}

/** A check whose result the test decides. */
function stage() {
  let result: 'works' | 'fails' = 'works'
  const check = async () => {
    if (result === 'fails') throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
  }
  return {
    health: createHealth({ check }),
    fail() {
      result = 'fails'
    },
  }
}

async function originOf(t: TestContext, server: Server): Promise<string> {
  if (!server.listening) await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://localhost:${(server.address() as AddressInfo).port}`
}

for (const [name, start] of Object.entries(frameworks)) {
  test(`${name}: /health and /livez answer as the program does, and drain() turns /health to 503`, async t => {
    const { health, fail } = stage()
    const origin = await originOf(t, await start(health))

    const healthy = await ask(`${origin}/health`)
    assert.deepEqual([healthy.status, healthy.body], [200, '{"status": "healthy","database": "connected"}'])
    assert.equal(healthy.headers['content-type'], 'application/json')
    assert.equal(healthy.headers['content-length'], '45')
    assert.match(String(healthy.headers['x-process-time-ms']), /^\d+$/)
    assert.equal(healthy.headers['cache-control'], 'no-store')
    const head = await ask(`${origin}/health`, { method: 'HEAD' })
    assert.deepEqual([head.status, head.body, head.headers['content-length']], [200, '', '45'])

    fail()
    const unhealthy = await ask(`${origin}/health?probe=1`)
    assert.equal(unhealthy.status, 503)
    assert.equal(unhealthy.body, '{"status": "unhealthy","error": "database unreachable"}')
    assert.equal((await ask(`${origin}/own`)).body, 'own')
    assert.notEqual((await ask(`${origin}/primary`)).status, 503, 'a role path is not one of the library')

    health.drain()
    const draining = await ask(`${origin}/health`)
    assert.deepEqual(
      [draining.status, draining.body, draining.headers['connection']],
      [503, '{"status": "unhealthy","error": "server is shutting down"}', 'close'],
    )
    assert.equal((await ask(`${origin}/livez`)).body, '{"status": "alive"}')
  })
}

test('Express 5: a handler that is mounted below a prefix answers there', async t => {
  const app = express()
  const { health } = stage()
  app.use('/internal', health.handler)
  const origin = await originOf(t, app.listen(0))
  assert.equal((await ask(`${origin}/internal/health`)).status, 200)
  assert.equal((await ask(`${origin}/internal/other`)).status, 404)
})

test('Express 5: a prefix leaves /health to the service, also if the mount has the same path', async t => {
  const app = express()
  const health = createHealth({ check: async () => 1, prefix: '/internal' })
  app.use('/internal', health.handler)
  app.use(health.handler)
  app.get('/health', (_request, response) => void response.send('own'))
  const origin = await originOf(t, app.listen(0))
  assert.equal((await ask(`${origin}/internal/health`)).status, 200)
  assert.equal((await ask(`${origin}/health`)).body, 'own')
})

test('Koa 3: app.use(health.handler) answers 500 and says why in an error, and the process goes on', async t => {
  const app = new Koa()
  const { health } = stage()
  const errors: unknown[] = []
  app.on('error', error => errors.push(error))
  app.use(health.handler as unknown as Koa.Middleware)
  const origin = await originOf(t, app.listen(0))
  for (const path of ['/health', '/livez']) assert.equal((await ask(origin + path)).status, 500)
  assert.match(String(errors[0]), /^TypeError: handler\(\) needs .*docs\/library\.md/)
  assert.equal((await health.fetch(new Request('http://h/health'))).status, 200)
})
