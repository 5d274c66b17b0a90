// Opening a socket: Unix sockets, addresses, start-up options, the answer to SSLRequest, and name lookups.

import assert from 'node:assert/strict'
import dns from 'node:dns'
import { once } from 'node:events'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import net, { type AddressInfo } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import type { Tls } from '../../lib/conninfo/conninfo.ts'
import { codedError } from '../../lib/error.ts'
import { createDatabase } from '../../lib/postgres/database.ts'
import { createLookup } from '../../lib/postgres/lookup.ts'
import { administer } from '../support/administer.ts'
import { check, conninfoOf } from '../support/database.ts'
import { accountToRunAs, openPostgres, type Postgres } from '../support/postgres.ts'

const now = () => performance.now()

describe('a PostgreSQL', () => {
  let server: Postgres
  /** Cloud SQL's socket directories have colons. */
  let socketDirectory: string

  before(async () => {
    socketDirectory = mkdtempSync('/tmp/pg-health:project:region:')
    const account = accountToRunAs()
    if (account) chownSync(socketDirectory, account.uid, account.gid)
    server = await openPostgres({ settings: { unix_socket_directories: socketDirectory } })
  })
  after(async () => {
    await server?.close()
    rmSync(socketDirectory, { recursive: true })
  })

  test('is reached in a socket directory with colons, where sslmode counts for nothing', async t => {
    for (const mode of ['disable', 'allow', 'verify-full'] as const) {
      assert.equal(
        await check(t, conninfoOf(server.port, { host: socketDirectory, tls: { mode } })),
        'healthy',
        mode,
      )
    }
  })

  test('is reached at hostaddr, and the host is not looked up', async t => {
    const host = 'nowhere.invalid'
    assert.equal(await check(t, conninfoOf(server.port, { host })), 'unreachable ENOTFOUND')
    assert.equal(await check(t, conninfoOf(server.port, { host, address: '127.0.0.1' })), 'healthy')
  })

  test('sees the options of the start-up message', async t => {
    // A login trigger (PostgreSQL 17) sees what SHOW would answer.
    await administer(
      server.url,
      'create table seen (application text, search_path text, work_mem text)',
      `create function note() returns event_trigger language plpgsql as $$ begin
         insert into seen values (current_setting('application_name'), current_setting('search_path'), current_setting('work_mem'));
       end $$`,
      'create event trigger noting on login execute function note()',
    )
    const options = '-c search_path=app,\\ public --work_mem=1MB'
    assert.equal(await check(t, conninfoOf(server.port, { options })), 'healthy')
    const seen = await administer(server.url, "select * from seen where application = 'pg-health'")
    assert.deepEqual(seen, [{ application: 'pg-health', search_path: 'app, public', work_mem: '1MB' }])
  })

  test('refuses options that it does not know', async t => {
    assert.match(await check(t, conninfoOf(server.port, { options: '-c nonsense=1' })), /^unknown 42704$/)
  })
})

describe('the answer to SSLRequest', () => {
  /** A peer that answers the first message with `answer`, and closes when told to; gives what else it was sent. */
  async function openAnswering(t: TestContext, answer: string, close = false) {
    const sent: Buffer[] = []
    const peer = net.createServer(socket => {
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.on('data', chunk => sent.push(chunk))
        if (close) socket.end(answer)
        else socket.write(answer)
      })
      t.after(() => socket.destroy())
    })
    await once(peer.listen(0, '127.0.0.1'), 'listening')
    t.after(() => peer.close())
    const { port } = peer.address() as AddressInfo
    return {
      sent,
      conninfo: (mode: Tls['mode']) => conninfoOf(port, { user: 'u', password: 'geheim', tls: { mode } }),
    }
  }

  test('no, when TLS is required: tls, and nothing is sent in plain text', async t => {
    const { sent, conninfo } = await openAnswering(t, 'N')
    for (const mode of ['require', 'verify-ca', 'verify-full'] as const) {
      assert.equal(await check(t, conninfo(mode)), 'tls TLS_NOT_OFFERED')
    }
    assert.deepEqual(sent, [])
  })

  test('yes, with more bytes before the handshake: connection_lost', async t => {
    const { sent, conninfo } = await openAnswering(t, 'SN')
    assert.equal(await check(t, conninfo('prefer')), 'connection_lost 08P01')
    assert.deepEqual(sent, [])
  })

  test('yes, then no TLS: tls', async t => {
    const peer = net.createServer(socket => {
      socket.once('data', () => {
        socket.write('S')
        socket.once('data', () => socket.end('this is not TLS'))
      })
    })
    await once(peer.listen(0, '127.0.0.1'), 'listening')
    t.after(() => peer.close())
    const { port } = peer.address() as AddressInfo
    assert.match(await check(t, conninfoOf(port, { tls: { mode: 'require' } })), /^tls ERR_SSL_/)
  })

  test('yes, then silence: connect_timeout, or the error with which we give up', async t => {
    const { conninfo } = await openAnswering(t, 'S')
    const limits = { timeoutMs: 300, connectTimeoutMs: 300, sessionMaxAgeMs: 60_000 }
    const database = createDatabase({
      phase: () => 'serving',
      readConninfo: () => conninfo('require'),
      ...limits,
      now,
    })
    t.after(() => database.close())
    assert.equal((await database.check(now() + 5_000)).result, 'connect_timeout')
    const asked = database.check(now() + 5_000)
    setTimeout(() => database.reset(codedError('CONNECTION_DESTROYED')), 200)
    assert.equal((await asked).result, 'connection_lost')
  })

  test('a web server: connection_lost', async t => {
    const { conninfo } = await openAnswering(t, 'HTTP/1.1 400 Bad Request\r\n\r\n')
    assert.equal(await check(t, conninfo('prefer')), 'connection_lost 08P01')
  })

  test('yes, then the end of the connection: connection_lost, not tls', async t => {
    const { conninfo } = await openAnswering(t, 'S', true)
    assert.match(await check(t, conninfo('require')), /^connection_lost /)
  })
})

describe('createLookup()', () => {
  type Callback = (error: Error | null, addresses: { address: string; family: number }[]) => void

  test('shares one lookup of a name among all callers, and starts a new one after its answer', async t => {
    const outstanding: Callback[] = []
    t.mock.method(dns, 'lookup', (_name: string, _options: object, callback: Callback) =>
      outstanding.push(callback),
    )
    syncBuiltinESMExports()
    t.after(() => {
      t.mock.restoreAll()
      syncBuiltinESMExports()
    })
    const lookup = createLookup()
    const ask = () => new Promise(resolve => lookup('db', { all: true }, (_error, found) => resolve(found)))
    const asked = [ask(), ask(), ask()]
    assert.equal(outstanding.length, 1)
    const addresses = [{ address: '10.0.0.1', family: 4 }]
    outstanding[0]?.(null, addresses)
    assert.deepEqual(await Promise.all(asked), [addresses, addresses, addresses])
    void ask()
    assert.equal(outstanding.length, 2)
  })
})
