// TLS to a real PostgreSQL, with certificates made for the purpose; and names, one lookup at a time.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import dns from 'node:dns'
import { once } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import net, { type AddressInfo } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import postgres from 'postgres'
import { codedError, codeOf } from '../../lib/error.ts'
import { createLookup } from '../../lib/postgres/connect.ts'
import { readUrl } from '../../lib/postgres/conninfo.ts'
import { createDatabase } from '../../lib/postgres/database.ts'
import { type Certified, createRoot, sign } from '../support/certificates.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'

const now = () => performance.now()

/** Checks the database at `url` once, trusting `root`; says how the session was encrypted, or why there is none. */
async function check(t: TestContext, url: string, root?: Certified): Promise<string> {
  const reading = readUrl(url, 'DATABASE_URL', 'postgres')
  assert.ok('value' in reading)
  const target = { ...reading.value, rootCert: root?.certificate }
  const limits = { timeoutMs: 2_000, connectTimeoutMs: 5_000, sessionMaxAgeMs: 60_000 }
  const database = createDatabase({ readConninfo: () => target, ...limits, now })
  t.after(() => database.close())
  const { result, error } = await database.ask(now() + 2_000)
  return result === 'healthy' ? 'healthy' : `${result} ${codeOf(error)}`
}

/** Why the tests with certificates can't run here, if so. */
function missingOpenssl(): string | false {
  const { error } = spawnSync('openssl', ['version'])
  return error ? `openssl makes the certificates, and does not run here: ${error.message}` : false
}

describe('TLS to PostgreSQL', { skip: missingOpenssl() }, () => {
  let server: Postgres
  let root: Certified
  let stranger: Certified

  before(async () => {
    root = createRoot()
    stranger = createRoot()
    const { certificate, key } = sign(root, 'DNS:localhost')
    server = await openPostgres({
      settings: { ssl: 'on' },
      files: {
        'server.crt': certificate,
        'server.key': key,
        'pg_hba.conf': 'hostssl all all all trust\n',
      },
    })
  })
  after(() => server.close())

  async function present(certified: Certified) {
    await server.configure({ files: { 'server.crt': certified.certificate, 'server.key': certified.key } })
  }

  function url(mode: string, host = '127.0.0.1') {
    return `postgres://postgres@${host}:${server.port}/postgres?sslmode=${mode}&application_name=${mode}`
  }

  const cases: [
    text: string,
    mode: string,
    host: string,
    root: 'ours' | 'strange' | 'none',
    found: string,
  ][] = [
    ['prefer takes what the server offers', 'prefer', '127.0.0.1', 'none', 'healthy'],
    ['require encrypts and trusts anybody', 'require', '127.0.0.1', 'none', 'healthy'],
    ['verify-ca wants our root', 'verify-ca', '127.0.0.1', 'ours', 'healthy'],
    [
      'verify-ca refuses another root',
      'verify-ca',
      '127.0.0.1',
      'strange',
      'tls UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ],
    ['verify-full wants the name, too', 'verify-full', 'localhost', 'ours', 'healthy'],
    [
      'verify-full refuses another name',
      'verify-full',
      '127.0.0.1',
      'ours',
      'tls ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    [
      'verify-full trusts no root of its own',
      'verify-full',
      'localhost',
      'none',
      'tls UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ],
    ['disable is told that this server wants TLS', 'disable', '127.0.0.1', 'none', 'auth_failed 28000'],
  ]
  for (const [text, mode, host, trusted, found] of cases) {
    test(text, async t => {
      const trust = trusted === 'ours' ? root : trusted === 'strange' ? stranger : undefined
      assert.equal(await check(t, url(mode, host), trust), found)
    })
  }

  test('require, and prefer where TLS is offered, are encrypted indeed', async t => {
    for (const mode of ['require', 'prefer']) assert.equal(await check(t, url(mode)), 'healthy')
    const sql = postgres(server.url, { max: 1, ssl: 'require' })
    t.after(() => sql.end())
    const sessions = await sql`
      select application_name as name, ssl from pg_stat_activity join pg_stat_ssl using (pid)
      where application_name in ('require', 'prefer') order by 1`
    assert.deepEqual(
      [...sessions],
      [
        { name: 'prefer', ssl: true },
        { name: 'require', ssl: true },
      ],
    )
  })

  test('verify-full compares an address with the addresses of the certificate', async t => {
    await present(sign(root, 'IP:127.0.0.1'))
    assert.equal(await check(t, url('verify-full'), root), 'healthy')
    assert.equal(await check(t, url('verify-full', 'localhost'), root), 'tls ERR_TLS_CERT_ALTNAME_INVALID')
  })

  test('an expired certificate is refused, and the renewed one taken with the next check', async t => {
    await present(sign(root, 'DNS:localhost', -1))
    assert.equal(await check(t, url('verify-full', 'localhost'), root), 'tls CERT_HAS_EXPIRED')
    await present(sign(root, 'DNS:localhost'))
    assert.equal(await check(t, url('verify-full', 'localhost'), root), 'healthy')
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
    return { sent, url: (mode: string) => `postgres://u:geheim@127.0.0.1:${port}/x?sslmode=${mode}` }
  }

  test('no, where TLS is required: tls, and nothing is sent in plain text', async t => {
    const { sent, url } = await openAnswering(t, 'N')
    for (const mode of ['require', 'verify-ca', 'verify-full']) {
      assert.equal(await check(t, url(mode)), 'tls TLS_NOT_OFFERED')
    }
    assert.deepEqual(sent, [])
  })

  test('yes, and more in the same breath: somebody speaks before TLS does, and is not believed', async t => {
    const { sent, url } = await openAnswering(t, 'SN')
    assert.equal(await check(t, url('prefer')), 'connection_lost 08P01')
    assert.deepEqual(sent, [])
  })

  test('yes, and then no TLS: tls', async t => {
    const peer = net.createServer(socket => {
      socket.once('data', () => {
        socket.write('S')
        socket.once('data', () => socket.end('this is not TLS'))
      })
    })
    await once(peer.listen(0, '127.0.0.1'), 'listening')
    t.after(() => peer.close())
    const { port } = peer.address() as AddressInfo
    assert.match(await check(t, `postgres://x@127.0.0.1:${port}/x?sslmode=require`), /^tls ERR_SSL_/)
  })

  test('yes, and then silence: connect_timeout, or what we said when we gave it up', async t => {
    const { url } = await openAnswering(t, 'S')
    const reading = readUrl(url('require'), 'DATABASE_URL', '')
    assert.ok('value' in reading)
    const target = { ...reading.value, rootCert: undefined }
    const limits = { timeoutMs: 300, connectTimeoutMs: 300, sessionMaxAgeMs: 60_000 }
    const database = createDatabase({ readConninfo: () => target, ...limits, now })
    t.after(() => database.close())
    assert.equal((await database.ask(now() + 5_000)).result, 'connect_timeout')
    const asked = database.ask(now() + 5_000)
    setTimeout(() => database.reset(codedError('CONNECTION_DESTROYED')), 200)
    assert.equal((await asked).result, 'connection_lost')
  })

  test('a web server: connection_lost', async t => {
    const { url } = await openAnswering(t, 'HTTP/1.1 400 Bad Request\r\n\r\n')
    assert.equal(await check(t, url('prefer')), 'connection_lost 08P01')
  })

  test('a connection that ends: connection_lost, not a fault of certificates', async t => {
    const { url } = await openAnswering(t, 'S', true)
    assert.match(await check(t, url('require')), /^connection_lost /)
  })
})

describe('createLookup()', () => {
  type Callback = (error: Error | null, addresses: { address: string; family: number }[]) => void

  test('has one lookup of a name outstanding, however many ask, and a new one after it has come back', async t => {
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
