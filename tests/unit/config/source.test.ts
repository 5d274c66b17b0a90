// Where the database is found: password files, service files and certificates, by the rules of libpq.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readSource } from '../../../lib/config/source.ts'
import type { Environment } from '../../../lib/conninfo/conninfo.ts'

const home = '/home/me'
const cert = '-----BEGIN CERTIFICATE-----\n'
const key = '-----BEGIN PRIVATE KEY-----\n'
const crl = '-----BEGIN X509 CRL-----\n'

interface Permissions {
  readonly mode?: number
  readonly ownerId?: number
}

/** Reads with these files; `permissions` are those of all of them. */
function read(env: Environment, files: Environment = {}, { mode = 0o600, ownerId = 1000 }: Permissions = {}) {
  const readFile = (path: string) => {
    const text = files[path]
    if (text === undefined) throw Object.assign(new Error(), { code: 'ENOENT' })
    return { text, mode, ownerId }
  }
  return readSource({ env, readFile, osUser: 'me' })
}

function sourceOf(...args: Parameters<typeof read>) {
  const source = read(...args)
  if ('faults' in source) assert.fail(source.faults.join('\n'))
  return source.value
}

function faultsOf(...args: Parameters<typeof read>): string {
  const source = read(...args)
  assert.ok('faults' in source, 'was accepted')
  return source.faults.join('\n')
}

const passwords: [title: string, line: string, url: string, password: string][] = [
  ['all fields', 'db:5432:shop:app:secret', 'postgres://app@db/shop', 'secret'],
  ['wildcards', '*:*:*:*:secret', 'postgres://app@db/shop', 'secret'],
  [
    'the first line that matches',
    'x:*:*:*:wrong\n*:*:*:*:secret\n*:*:*:*:late',
    'postgres://app@db/shop',
    'secret',
  ],
  ['no comment', '#*:*:*:*:wrong\n*:*:*:*:secret', 'postgres://app@db/shop', 'secret'],
  ['escapes', 'db:*:s\\:h\\\\op:*:se\\:cr\\\\et', 'postgres://app@db/s%3Ah%5Cop', 'se:cr\\et'],
  ['a password up to its first colon', '*:*:*:*:a:b:c', 'postgres://app@db/shop', 'a'],
  ['CRLF', 'db:*:*:*:secret\r\n', 'postgres://app@db/shop', 'secret'],
  ['another port', '*:5433:*:*:wrong', 'postgres://app@db/shop', ''],
  ['another user', '*:*:*:root:wrong', 'postgres://app@db/shop', ''],
  ['a part of a name', 'd:*:*:*:wrong', 'postgres://app@db/shop', ''],
  ['a line with too few fields', '*:*:*:wrong', 'postgres://app@db/shop', ''],
  ['IPv6', '\\:\\:1:*:*:*:secret', 'postgres://app@[::1]/shop', 'secret'],
  ['the default socket as localhost', 'localhost:*:*:*:secret', 'postgres://app@%2Ftmp/shop', 'secret'],
  ['another socket by its directory', '/run/x:*:*:*:secret', 'postgres://app@%2Frun%2Fx/shop', 'secret'],
  ['the host, not hostaddr', 'db:*:*:*:secret', 'postgres://app@db/shop?hostaddr=127.0.0.1', 'secret'],
]

for (const [title, text, DATABASE_URL, password] of passwords) {
  test(`readSource() reads ${title} of ~/.pgpass as libpq does`, () => {
    const source = sourceOf({ DATABASE_URL, HOME: home }, { [`${home}/.pgpass`]: text })
    assert.equal(source.conninfo.password, password)
    assert.equal(source.passwordFrom, password === '' ? 'settings' : 'passfile')
  })
}

test('readSource() reads PGPASSFILE or passfile instead of ~/.pgpass, unless there is a password', () => {
  const files = { '/a': '*:*:*:*:a', '/b': '*:*:*:*:b', [`${home}/.pgpass`]: '*:*:*:*:home' }
  const env = { HOME: home, PGPASSFILE: '/a' }
  assert.equal(sourceOf({ ...env, PGHOST: 'h' }, files).conninfo.password, 'a')
  assert.equal(sourceOf({ ...env, DATABASE_URL: 'postgres://h/d?passfile=/b' }, files).conninfo.password, 'b')
  assert.equal(sourceOf({ ...env, PGHOST: 'h', PGPASSWORD: 'own' }, files).conninfo.password, 'own')
})

test('readSource() leaves out a password file that others may read, as libpq does, and warns', () => {
  const files = { [`${home}/.pgpass`]: '*:*:*:*:secret' }
  for (const mode of [0o644, 0o640, 0o604]) {
    const { conninfo, leftOut } = sourceOf({ PGHOST: 'h', HOME: home }, files, { mode })
    assert.deepEqual([conninfo.password, leftOut], ['', ['~/.pgpass (others may read it: chmod 600)']])
  }
})

test('readSource() warns of a password file that is missing only when somebody named it', () => {
  assert.deepEqual(sourceOf({ PGHOST: 'h', PGPASSFILE: '/none' }).leftOut, ['PGPASSFILE (ENOENT)'])
  assert.deepEqual(sourceOf({ PGHOST: 'h', HOME: home }).leftOut, [])
})

const services = `# comment
[other]
host=wrong

[shop]
  host=db.example
port=5433
dbname=shop
password=a=b
sslmode=require
[last]
host=wrong`

test('readSource() fills in from a service file what the string does not say, before the variables', () => {
  const files = { '/services': services, [`${home}/.pg_service.conf`]: services }
  const environments = [
    { PGSERVICE: 'shop', PGSERVICEFILE: '/services' },
    { PGSERVICE: 'shop', HOME: home },
    { PGSERVICE: 'shop', HOME: '/nowhere', PGSYSCONFDIR: home.replace('/me', '') },
    { DATABASE_URL: 'postgres:///?service=shop', PGSERVICEFILE: '/services' },
    { DATABASE_URL: 'service=shop servicefile=/services' },
  ]
  for (const env of environments) {
    const all = { ...files, '/home/pg_service.conf': services }
    const { hosts, database, password, tls } = sourceOf(
      { PGPORT: '1', PGHOST: 'wrong', ...env },
      all,
    ).conninfo
    assert.deepEqual(hosts, [{ host: 'db.example', address: undefined, port: 5433 }])
    assert.deepEqual([database, password, tls.mode], ['shop', 'a=b', 'require'])
  }
  const own = sourceOf({ DATABASE_URL: 'postgres://h/d?service=shop', PGSERVICEFILE: '/services' }, files)
  assert.deepEqual([own.conninfo.hosts[0].host, own.conninfo.database], ['h', 'd'])
})

test('readSource() refuses a service that no file defines, and a service file that is wrong', () => {
  const env = { PGSERVICE: 'shop', PGSERVICEFILE: '/services' }
  assert.match(faultsOf({ PGSERVICE: 'shop', HOME: home }), /^PGSERVICE names a service that no service file/)
  assert.match(faultsOf(env), /^PGSERVICEFILE names a file that cannot be read \(ENOENT\)/)
  assert.match(faultsOf(env, { '/services': '[other]' }), /no service file/)
  assert.match(faultsOf(env, { '/services': '[shop]\nTr0ub4dor' }), /not name=value$/)
  assert.match(faultsOf(env, { '/services': '[shop]\nservice=other' }), /refers to another$/)
  assert.match(
    faultsOf(env, { '/services': '[shop]\nport=Tr0ub4dor' }),
    /^service file of PGSERVICEFILE: port/,
  )
})

const tlsFiles = { '/ca': cert, '/cert': cert, '/key': key, '/crl': crl }
const withTls = {
  DATABASE_URL: 'postgres://h/d?sslmode=verify-ca&sslrootcert=/ca&sslcert=/cert&sslkey=/key&sslcrl=/crl',
}

test('readSource() brings the text of certificates, key and revocations along', () => {
  const { conninfo } = sourceOf(withTls, tlsFiles)
  assert.deepEqual([conninfo.rootCert, conninfo.cert, conninfo.key, conninfo.crl], [cert, cert, key, crl])
})

test('readSource() reads the files in ~/.postgresql where nothing is set, as libpq does', () => {
  const folder = `${home}/.postgresql`
  const files = {
    [`${folder}/root.crt`]: cert,
    [`${folder}/postgresql.crt`]: cert,
    [`${folder}/postgresql.key`]: key,
    [`${folder}/root.crl`]: crl,
  }
  const of = (url: string) =>
    sourceOf({ DATABASE_URL: url, HOME: home }, { ...files, '/ca': `${cert}own` }).conninfo
  const { tls, rootCert, cert: own, key: ownKey, crl: revoked } = of('postgres://h/d?sslmode=require')
  assert.deepEqual([tls.mode, rootCert, own, ownKey, revoked], ['verify-ca', cert, cert, key, crl])
  assert.equal(of('postgres://h/d?sslrootcert=/ca').rootCert, `${cert}own`)
  assert.equal(of('postgres://h/d?sslcertmode=disable').cert, undefined)
  assert.equal(of('postgres://h/d?sslmode=no-verify').tls.mode, 'require')
  assert.equal(of('postgres://h/d?sslmode=disable').rootCert, undefined)
  assert.equal(of('postgres://%2Frun/d').rootCert, undefined)
  assert.equal(sourceOf({ PGHOST: 'h', HOME: '/nowhere' }, files).conninfo.rootCert, undefined)
})

test('readSource() refuses a key that others may read; the group may when it is a key of root', () => {
  const modes: [mode: number, ownerId: number, right: boolean][] = [
    [0o600, 1000, true],
    [0o400, 1000, true],
    [0o640, 1000, false],
    [0o604, 1000, false],
    [0o640, 0, true],
    [0o440, 0, true],
    [0o660, 0, false],
    [0o644, 0, false],
  ]
  for (const [mode, ownerId, right] of modes) {
    const source = read(withTls, tlsFiles, { mode, ownerId })
    const faults = right
      ? undefined
      : ['DATABASE_URL: sslkey names a key that others may read: chmod 600 (640 is enough when root owns it)']
    assert.deepEqual('faults' in source ? source.faults : undefined, faults)
  }
})

test('readSource() refuses files with other contents, and an encrypted key without its password', () => {
  const none = { '/ca': key, '/cert': key, '/key': cert, '/crl': cert }
  assert.deepEqual(faultsOf(withTls, none).split('\n'), [
    'DATABASE_URL: sslrootcert names a file without a certificate (PEM)',
    'DATABASE_URL: sslcert names a file without a certificate (PEM)',
    'DATABASE_URL: sslkey names a file without a private key (PEM)',
    'DATABASE_URL: sslcrl names a file without a list of revoked certificates (PEM)',
  ])
  const encrypted = { ...tlsFiles, '/key': '-----BEGIN ENCRYPTED PRIVATE KEY-----\n' }
  assert.match(faultsOf(withTls, encrypted), /sslkey names an encrypted key: set sslpassword/)
  const url = `${withTls.DATABASE_URL}&sslpassword=x`
  assert.equal(sourceOf({ DATABASE_URL: url }, encrypted).conninfo.tls.keyPassword, 'x')
})
