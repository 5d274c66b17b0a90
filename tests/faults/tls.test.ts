// TLS that fails: never plain text instead, and healthy with the first valid certificate.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { administer, terminate } from '../support/administer.ts'
import { type Certified, createRoot, missingOpenssl, sign } from '../support/certificates.ts'
import { type Judged, startJudged } from '../support/judge.ts'
import { openPeer, type Scenario } from '../support/peer.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'

/** Administrators may use plain text; the program under test must use TLS. */
const hba = `local all all trust
hostssl all watcher all trust
hostnossl all watcher all reject
host all postgres all trust
`

describe('TLS', { skip: missingOpenssl() }, () => {
  let postgres: Postgres
  let root: Certified
  let good: Certified
  let urlFile: string
  let judged: Judged

  function urlAt(port: number, host = 'localhost') {
    const rootFile = encodeURIComponent(join(postgres.folder, 'root.crt'))
    return `postgres://watcher:geheim@${host}:${port}/postgres?sslmode=verify-full&sslrootcert=${rootFile}`
  }

  before(async () => {
    root = createRoot()
    good = sign(root, 'DNS:localhost,IP:127.0.0.1')
    postgres = await openPostgres({
      settings: { ssl: 'on' },
      files: { 'server.crt': good.certificate, 'server.key': good.key, 'pg_hba.conf': hba },
    })
    writeFileSync(join(postgres.folder, 'root.crt'), root.certificate)
    await administer(postgres.url, 'create role watcher login')
    urlFile = join(postgres.folder, 'url')
    writeFileSync(urlFile, urlAt(postgres.port))
    judged = await startJudged(
      { DATABASE_URL_FILE: urlFile },
      { secrets: ['geheim', 'watcher', 'localhost:', postgres.folder] },
    )
  })
  after(async () => {
    await judged?.close()
    await postgres?.close()
  })

  async function present({ certificate, key }: Certified) {
    await postgres.configure({ files: { 'server.crt': certificate, 'server.key': key } })
    await terminate(postgres.url)
  }

  const certificates: [what: string, make: () => Certified][] = [
    ['of an unknown root', () => sign(createRoot(), 'DNS:localhost')],
    ['for another name', () => sign(root, 'DNS:elsewhere.example')],
    ['for an address, when the host is a name', () => sign(root, 'IP:127.0.0.1')],
    ['that has expired', () => sign(root, 'DNS:localhost', -1)],
  ]
  for (const [what, make] of certificates) {
    test(`a certificate ${what}: tls`, () =>
      judged.judge({ says: 'tls', begin: () => present(make()), end: () => present(good) }))
  }

  test('an address as the host is compared with the addresses of the certificate', async () => {
    writeFileSync(urlFile, urlAt(postgres.port, '127.0.0.1'))
    await terminate(postgres.url)
    await judged.judge({
      says: 'tls',
      begin: () => present(sign(root, 'DNS:localhost,IP:127.0.0.2')),
      end: () => present(good),
    })
    writeFileSync(urlFile, urlAt(postgres.port))
    await terminate(postgres.url)
  })

  test('the server has no TLS, but we require it: tls, and nothing in plain text', () =>
    judged.judge({
      says: 'tls',
      async begin() {
        // The server would accept plain text.
        await postgres.configure({
          settings: { ssl: 'off' },
          files: { 'pg_hba.conf': 'host all all all trust\n' },
        })
        await terminate(postgres.url)
      },
      end: () => postgres.configure({ settings: { ssl: 'on' }, files: { 'pg_hba.conf': hba } }),
    }))

  /** What a peer answers to SSLRequest, and to all that comes after it. */
  const peers: [what: string, says: 'tls' | 'connection_lost', scenario: Scenario][] = [
    ['says no', 'tls', { startup: Buffer.from('N'), statement: () => Buffer.from('N') }],
    [
      'says yes, then sends garbage',
      'tls',
      { startup: Buffer.from('S'), statement: () => Buffer.alloc(64, 0x5a) },
    ],
    [
      'says yes, and more with the same packet',
      'connection_lost',
      { startup: Buffer.from('SR'), statement: () => Buffer.alloc(1) },
    ],
    ['says neither', 'connection_lost', { startup: Buffer.from('?'), statement: () => Buffer.alloc(1) }],
    [
      'answers with an error',
      'connection_lost',
      { startup: Buffer.from('E\0\0\0\x04'), statement: () => Buffer.alloc(1) },
    ],
  ]
  for (const [what, says, scenario] of peers) {
    test(`a peer that ${what}: ${says}, and nothing in plain text`, async t => {
      const sent: Buffer[] = []
      const peer = await openPeer({
        ...scenario,
        statement(index, bytes) {
          sent.push(bytes)
          return scenario.statement(index, bytes)
        },
      })
      t.after(() => peer.close())
      await judged.judge({
        says,
        async begin() {
          writeFileSync(urlFile, urlAt(peer.port))
          await terminate(postgres.url)
        },
        end: () => writeFileSync(urlFile, urlAt(postgres.port)),
      })
      assert.ok(peer.connections > 0)
      assert.doesNotMatch(Buffer.concat(sent).toString('latin1'), /watcher|geheim/)
    })
  }
})
