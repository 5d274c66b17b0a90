// A service with createHealth({ database }): what it takes from its environment, and what it says about its URL.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import postgres from 'postgres'
import { parameters } from '../../lib/conninfo/parameters.ts'
import { administer } from '../support/administer.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { ask } from '../support/server.ts'
import { startService, startWithLibrary } from '../support/service.ts'

/** Every variable that libpq reads, and every one that postgres.js reads: PG and the name of an option. */
const variables = [
  ...parameters.map(({ variable }) => variable),
  ...Object.keys(postgres().options).map(option => `PG${option.toUpperCase()}`),
  'PGAPPNAME',
  'PGUSERNAME',
  'DATABASE_URL',
  'USER',
].filter(variable => variable !== undefined)

describe('createHealth({ database }) in a service', () => {
  let server: Postgres
  let database: string
  before(async () => {
    server = await openPostgres()
    await administer(server.url, 'create role watcher login', 'create database ledger')
    database = server.url.replace('postgres@', 'watcher:geheim@').replace(/postgres$/, 'ledger')
  })
  after(() => server?.close())

  // postgres.js throws if PGTARGETSESSIONATTRS is no role, and looks for one if it is.
  for (const value of ['wrong', 'standby', '1']) {
    test(`goes where the URL says when each variable is '${value}'`, async t => {
      assert.ok(variables.includes('PGTARGETSESSIONATTRS') && variables.includes('PGMAX'))
      const env = Object.fromEntries(variables.map(variable => [variable, value]))
      const service = await startService({ database }, env)
      t.after(() => service.close())
      const { body } = await ask(`${service.origin}/health`)
      assert.equal(body, '{"status": "healthy","database": "connected"}')
      const sessions = await administer(
        server.url,
        `select usename, datname, application_name from pg_stat_activity
         where backend_type = 'client backend' and pid <> pg_backend_pid()`,
      )
      assert.deepEqual(sessions, [{ usename: 'watcher', datname: 'ledger', application_name: 'pg-health' }])
      assert.equal(service.child.stderr(), '')
    })
  }

  test('names what it leaves out of the URL in one warning of the process, without a value', async () => {
    const code = `
      process.on('warning', ({ name, code, message }) => console.log(JSON.stringify([name, code, message])))
      for (const database of process.argv.slice(1)) createHealth({ database })`
    const poolers = `${database}?pgbouncer=true&connection_limit=17&application_name=x`
    const { ended, stdout, stderr } = startWithLibrary(code, [database, poolers])
    assert.equal(await ended, 0)
    const warning = [
      'Warning',
      'PG_HEALTH_LEFT_OUT',
      'createHealth() leaves out of database: pgbouncer, connection_limit',
    ]
    assert.equal(stdout(), `${JSON.stringify(warning)}\n`)
    assert.match(stderr(), /^\(node:\d+\) \[PG_HEALTH_LEFT_OUT\] Warning: createHealth\(\) leaves out/)
  })
})
