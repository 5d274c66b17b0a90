// Each program in examples/ does what its first line says, beside a real PostgreSQL.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { type Child, startChild } from '../support/child.ts'
import { openPostgres } from '../support/postgres.ts'
import { ask, environmentOf, root } from '../support/server.ts'

/** Long enough that a request arrives before the server closes, on a busy machine as well. */
const drainMs = 3_000

describe('an example', { concurrency: true }, () => {
  for (const file of readdirSync(join(root, 'examples'))) {
    test(`${file}: /health is 200, 503 while PostgreSQL is down, and 503 from SIGTERM until the end`, async t => {
      const server = await openPostgres()
      t.after(() => server.close())
      const example = start(t, file, server.url)
      const origin = `http://localhost:${await example.said(/port: (\d+)/)}`
      const askHealth = async () => {
        const { status, body } = await ask(`${origin}/health`)
        return [status, body]
      }
      const healthy = [200, '{"status": "healthy","database": "connected"}']
      assert.deepEqual(await askHealth(), healthy)
      assert.match((await ask(origin)).body, /^\{"now":"20.*Z"\}$/)

      await server.stop()
      assert.deepEqual(await askHealth(), [503, '{"status": "unhealthy","error": "database unreachable"}'])
      assert.equal((await ask(`${origin}/livez`)).status, 200)
      await server.start()
      assert.deepEqual(await askHealth(), healthy)

      example.process.kill('SIGTERM')
      let answer = healthy
      while (answer[0] === 200) answer = await askHealth()
      assert.deepEqual(answer, [503, '{"status": "unhealthy","error": "server is shutting down"}'])
      assert.equal(await example.ended, 0, example.output())
    })
  }
})

/** `tsx` finds `pg-health` where tsconfig.json says: the sources of this checkout. */
function start(t: TestContext, file: string, database: string): Child {
  const env = environmentOf({ DATABASE_URL: database, PORT: '0', DRAIN_MS: `${drainMs}` })
  const example = startChild(process.execPath, ['--import', 'tsx', `examples/${file}`], { cwd: root, env })
  t.after(() => example.process.kill('SIGKILL'))
  return example
}
