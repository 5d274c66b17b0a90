// TLS to a real PostgreSQL, with certificates made for the purpose.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import tls from 'node:tls'
import { administer } from '../support/administer.ts'
import {
  type Certified,
  createRoot,
  encryptKey,
  missingOpenssl,
  revoke,
  sign,
  signClient,
} from '../support/certificates.ts'
import { type ConninfoChanges, check, conninfoOf } from '../support/database.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'

const hba = `local all all trust
hostssl all certified all cert
hostssl all encrypted all trust
hostnossl all plain all trust
host all nobody all reject
hostssl all postgres all trust
`

describe('TLS to PostgreSQL', { skip: missingOpenssl() }, () => {
  let server: Postgres
  let root: Certified
  let stranger: Certified

  before(async () => {
    root = createRoot()
    stranger = createRoot()
    const { certificate, key } = sign(root, 'DNS:localhost')
    server = await openPostgres({
      settings: { ssl: 'on', ssl_ca_file: 'root.crt' },
      files: {
        'server.crt': certificate,
        'server.key': key,
        'root.crt': root.certificate,
        'pg_hba.conf': hba,
      },
    })
    await administer(
      `postgres://postgres@localhost:${server.port}/postgres?host=${server.socketDirectory}`,
      ...['certified', 'encrypted', 'plain', 'nobody'].map(role => `create role ${role} login`),
    )
  })
  after(() => server.close())

  async function present(certified: Certified) {
    await server.configure({ files: { 'server.crt': certified.certificate, 'server.key': certified.key } })
  }

  /** Checks once; `trust` is the root that the client trusts. */
  function checkWith(t: TestContext, trust: Certified | undefined, changes: ConninfoChanges) {
    const rootCert = trust?.certificate
    return check(
      t,
      conninfoOf(server.port, { host: 'localhost', address: '127.0.0.1', rootCert, ...changes }),
    )
  }

  /** How the sessions of `user` that are open now are encrypted. */
  async function encryptionOf(user: string) {
    const [row] = await administer(
      `postgres://postgres@localhost:${server.port}/postgres?host=${server.socketDirectory}`,
      `select ssl, version from pg_stat_activity join pg_stat_ssl using (pid) where usename = '${user}'`,
    )
    return row
  }

  test('prefer uses the TLS that the server offers', async t => {
    assert.equal(await checkWith(t, undefined, { tls: { mode: 'prefer' } }), 'healthy')
    assert.equal((await encryptionOf('postgres'))?.['ssl'], true)
  })

  test('require encrypts, and accepts any certificate', async t => {
    const changes = { host: '127.0.0.1', tls: { mode: 'require' } } as const
    assert.equal(await checkWith(t, undefined, changes), 'healthy')
    assert.equal((await encryptionOf('postgres'))?.['ssl'], true)
  })

  test('verify-ca accepts any name that the root signed, and refuses another root', async t => {
    const changes = { host: '127.0.0.1', tls: { mode: 'verify-ca' } } as const
    assert.equal(await checkWith(t, root, changes), 'healthy')
    assert.equal(await checkWith(t, stranger, changes), 'tls SELF_SIGNED_CERT_IN_CHAIN')
  })

  test('verify-full requires the name, and a root', async t => {
    const tls = { mode: 'verify-full' } as const
    assert.equal(await checkWith(t, root, { tls }), 'healthy')
    assert.equal(await checkWith(t, root, { tls, host: '127.0.0.1' }), 'tls ERR_TLS_CERT_ALTNAME_INVALID')
    assert.equal(await checkWith(t, undefined, { tls }), 'tls SELF_SIGNED_CERT_IN_CHAIN')
  })

  test('verify-full compares the host, not the address that hostaddr gives', async t => {
    const tls = { mode: 'verify-full' } as const
    await present(sign(root, 'DNS:db.pg-health.test'))
    t.after(() => present(sign(root, 'DNS:localhost')))
    assert.equal(await checkWith(t, root, { tls, host: 'db.pg-health.test' }), 'healthy')
    assert.equal(
      await checkWith(t, root, { tls, host: 'other.pg-health.test' }),
      'tls ERR_TLS_CERT_ALTNAME_INVALID',
    )
  })

  test('verify-full compares an address with the addresses of the certificate', async t => {
    const tls = { mode: 'verify-full' } as const
    await present(sign(root, 'IP:127.0.0.1'))
    t.after(() => present(sign(root, 'DNS:localhost')))
    assert.equal(await checkWith(t, root, { tls, host: '127.0.0.1' }), 'healthy')
    assert.equal(await checkWith(t, root, { tls }), 'tls ERR_TLS_CERT_ALTNAME_INVALID')
  })

  test('disable is told that the server requires TLS', async t => {
    assert.equal(await checkWith(t, undefined, {}), 'auth_failed 28000')
  })

  test('an expired certificate is refused, and the renewed one accepted by the next check', async t => {
    const tls = { mode: 'verify-full' } as const
    await present(sign(root, 'DNS:localhost', -1))
    assert.equal(await checkWith(t, root, { tls }), 'tls CERT_HAS_EXPIRED')
    await present(sign(root, 'DNS:localhost'))
    assert.equal(await checkWith(t, root, { tls }), 'healthy')
  })

  test('a revoked certificate is refused, and another of the same root accepted', async t => {
    const revoked = sign(root, 'DNS:localhost')
    const crl = revoke(root, revoked)
    const changes = { crl, tls: { mode: 'verify-full' } } as const
    assert.equal(await checkWith(t, root, changes), 'healthy')
    await present(revoked)
    t.after(() => present(sign(root, 'DNS:localhost')))
    assert.equal(await checkWith(t, root, changes), 'tls CERT_REVOKED')
  })

  test('a client certificate with an encrypted key logs in where pg_hba.conf says cert', async t => {
    const { certificate: cert, key } = signClient(root, 'certified')
    const login = { user: 'certified', cert, key: encryptKey(key, 'geheim') }
    const tls = { mode: 'verify-full', keyPassword: 'geheim' } as const
    assert.equal(await checkWith(t, root, { ...login, tls }), 'healthy')
    assert.equal(await checkWith(t, root, { ...login, key, tls: { mode: 'verify-full' } }), 'healthy')
    assert.equal(
      await checkWith(t, root, { ...login, tls: { ...tls, keyPassword: 'wrong' } }),
      'tls ERR_OSSL_BAD_DECRYPT',
    )
    assert.match(await checkWith(t, root, { ...login, tls: { ...tls, keyPassword: '' } }), /^tls ERR_/)
    assert.match(await checkWith(t, root, { ...login, cert: 'not a certificate', tls }), /^tls ERR_OSSL_/)
  })

  test('without its client certificate, or with that of another role: auth_failed', async t => {
    const tls = { mode: 'verify-full' } as const
    const { certificate: cert, key } = signClient(root, 'somebody')
    assert.equal(await checkWith(t, root, { user: 'certified', tls }), 'auth_failed 28000')
    assert.equal(await checkWith(t, root, { user: 'certified', cert, key, tls }), 'auth_failed 28000')
  })

  test('with a client certificate that the server does not trust: tls', async t => {
    const { certificate: cert, key } = signClient(stranger, 'certified')
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const tls = { mode: 'verify-full', maxVersion } as const
      assert.equal(
        await checkWith(t, root, { user: 'certified', cert, key, tls }),
        'tls ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
        maxVersion,
      )
    }
  })

  test('the versions of TLS are limited from below and above', async t => {
    const user = 'encrypted'
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const tls = { mode: 'require', minVersion: version, maxVersion: version } as const
      assert.equal(await checkWith(t, undefined, { user, tls }), 'healthy')
      // Of another session the server may not have noticed the end.
      const found = await administer(
        `postgres://postgres@localhost:${server.port}/postgres?host=${server.socketDirectory}`,
        `select version from pg_stat_activity join pg_stat_ssl using (pid) where usename = '${user}'
          order by backend_start desc`,
      )
      assert.equal(found[0]?.['version'], version)
    }
  })

  test('allow stays with plain text where the server accepts it', async t => {
    assert.equal(await checkWith(t, undefined, { user: 'plain', tls: { mode: 'allow' } }), 'healthy')
    assert.equal((await encryptionOf('plain'))?.['ssl'], false)
  })

  test('allow uses TLS within the same check where the server refuses plain text', async t => {
    assert.equal(await checkWith(t, undefined, { user: 'encrypted', tls: { mode: 'allow' } }), 'healthy')
    assert.equal(
      await checkWith(t, stranger, { user: 'encrypted', tls: { mode: 'allow' } }),
      'tls SELF_SIGNED_CERT_IN_CHAIN',
    )
  })

  test('allow is told why the server refuses both', async t => {
    assert.equal(
      await checkWith(t, undefined, { user: 'nobody', tls: { mode: 'allow' } }),
      'auth_failed 28000',
    )
  })

  test('sslnegotiation=direct logs in to PostgreSQL 18', async t => {
    const tls = { mode: 'verify-full', negotiation: 'direct' } as const
    assert.equal(await checkWith(t, root, { tls }), 'healthy')
    assert.equal(await checkWith(t, stranger, { tls }), 'tls SELF_SIGNED_CERT_IN_CHAIN')
  })
})

describe('what a TLS server sees', { skip: missingOpenssl() }, () => {
  /** A TLS server that closes each connection after the handshake. It notes the names that clients asked for. */
  function createTls(options: tls.TlsOptions = {}) {
    const { certificate: cert, key } = sign(createRoot(), 'DNS:localhost')
    const names: unknown[] = []
    const server = tls.createServer({ cert, key, ...options }, socket => {
      names.push(socket.servername)
      socket.destroy()
    })
    return { names, server: server.on('tlsClientError', () => {}) }
  }

  async function listen(t: TestContext, server: net.Server): Promise<number> {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.after(() => server.close())
    return (server.address() as AddressInfo).port
  }

  test('SNI carries names alone, not addresses, as in libpq', async t => {
    const { names, server } = createTls()
    const answering = net.createServer(socket => {
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.write('S')
        server.emit('connection', socket)
      })
    })
    const port = await listen(t, answering)
    for (const host of ['db.pg-health.test', '127.0.0.1', '127.1', '::1', 'fe80::1%lo']) {
      await check(t, conninfoOf(port, { host, address: '127.0.0.1', tls: { mode: 'require' } }))
    }
    assert.deepEqual(names, ['db.pg-health.test', false, false, false, false])
  })

  test('sslnegotiation=direct begins with the handshake, and insists on ALPN', async t => {
    const cases: [options: tls.TlsOptions, found: RegExp][] = [
      [{}, /^tls ALPN_NOT_NEGOTIATED$/],
      [{ ALPNProtocols: ['http/1.1'] }, /^tls ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL$/],
      [{ ALPNProtocols: ['postgresql'] }, /^connection_lost /],
    ]
    for (const [options, found] of cases) {
      const port = await listen(t, createTls(options).server)
      assert.match(
        await check(t, conninfoOf(port, { tls: { mode: 'require', negotiation: 'direct' } })),
        found,
      )
    }
  })
})
