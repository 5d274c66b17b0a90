// What may be written as a database URL, and what it means; no server is needed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import {
  type Conninfo,
  maskedUrlOf,
  type Reading,
  readUrl,
  readVariables,
  type Tls,
  type TlsMode,
} from '../../../lib/postgres/conninfo.ts'

/** A Conninfo with one host, and its parts side by side. */
type Flat = Pick<Conninfo, 'user' | 'password' | 'database' | 'applicationName' | 'rootCertSetting'> &
  Pick<Tls, 'rootCertFile'> & { readonly host: string; readonly port: number; readonly tls: TlsMode }

function flat({ hosts, tls, targetSessionAttrs, options, ...rest }: Conninfo): Flat {
  const [{ host, port, address }] = hosts
  assert.deepEqual([hosts.length, address, targetSessionAttrs, options], [1, undefined, 'any', ''])
  return { ...rest, host, port, tls: tls.mode, rootCertFile: tls.rootCertFile }
}

function nested({ host, port, tls: mode, rootCertFile, ...rest }: Flat): Conninfo {
  const files = { rootCertFile, certFile: undefined, keyFile: undefined, crlFile: undefined, keyPassword: '' }
  const versions = { minVersion: undefined, maxVersion: undefined }
  const tls: Tls = { mode, negotiation: 'postgres', ...files, ...versions }
  return { ...rest, hosts: [{ host, port, address: undefined }], targetSessionAttrs: 'any', options: '', tls }
}

const plain: Flat = {
  host: 'db.example',
  port: 5432,
  user: 'app',
  password: 'secret',
  database: 'shop',
  applicationName: 'pg-health',
  tls: 'prefer',
  rootCertFile: undefined,
  rootCertSetting: 'DATABASE_URL: sslrootcert',
}

const read = (url: string) => readUrl(url, 'DATABASE_URL', 'osuser')

function targetOf(reading: Reading): Flat {
  if ('faults' in reading) assert.fail(reading.faults.join('\n'))
  return flat(reading.target)
}

function faultsOf(reading: Reading): string {
  if ('target' in reading) assert.fail(`was accepted: ${inspect(reading.target)}`)
  return reading.faults.join('\n')
}

/** What each URL means, where it differs from postgres://app:secret@db.example/shop. */
const accepted: [title: string, url: string, different: Partial<Flat>][] = [
  ['fills in the defaults of libpq', 'postgres://app:secret@db.example/shop', {}],
  ['takes postgresql:// as well', 'postgresql://app:secret@db.example/shop', {}],
  ['takes a port', 'postgres://app:secret@db.example:6543/shop', { port: 6543 }],
  ['takes an empty port as none', 'postgres://app:secret@db.example:/shop', {}],
  ['names the database after the user', 'postgres://app:secret@db.example', { database: 'app' }],
  ['takes an empty database as none', 'postgres://app:secret@db.example/', { database: 'app' }],
  ['has no password but the one of the URL', 'postgres://app@db.example/shop', { password: '' }],
  ['takes the system user when there is none', 'postgres://:secret@db.example/shop', { user: 'osuser' }],
  ['takes localhost when there is no host', 'postgres://app:secret@/shop', { host: 'localhost' }],
  ['decodes user and database', 'postgres://a%40b:secret@db.example/s%2Fh', { user: 'a@b', database: 's/h' }],
  ['lets a user hold an @', 'postgres://app@tenant:secret@db.example/shop', { user: 'app@tenant' }],
  ['reads an IPv6 address in brackets', 'postgres://app:secret@[::1]:5433/shop', { host: '::1', port: 5433 }],
  ['reads an IPv6 zone', 'postgres://app:secret@[fe80::1%25eth0]/shop', { host: 'fe80::1%eth0' }],
  ['decodes a socket directory', 'postgres://app:secret@%2Frun%2Fpg/shop', { host: '/run/pg' }],
  [
    'reads ?host=, ?port=',
    'postgres://app:secret@/shop?host=/run/pg&port=5433',
    { host: '/run/pg', port: 5433 },
  ],
  [
    'prefers a socket in ?host=',
    'postgres://app:secret@localhost/shop?host=/cloudsql/a:b',
    { host: '/cloudsql/a:b' },
  ],
  ['reads all from parameters', 'postgres://?host=db.example&user=app&password=secret&dbname=shop', {}],
  ['keeps = in a parameter', 'postgres://app@db.example/shop?password=se=cret==', { password: 'se=cret==' }],
  ['does not make + a space', 'postgres://app:a+b@db.example/shop', { password: 'a+b' }],
  [
    'reads application_name',
    'postgres://app:secret@db.example/shop?application_name=x%20y',
    { applicationName: 'x y' },
  ],
  ['reads sslmode', 'postgres://app:secret@db.example/shop?sslmode=disable', { tls: 'disable' }],
  ['leaves require alone', 'postgres://app:secret@db.example/shop?sslmode=require', { tls: 'require' }],
  ['reads verify-full', 'postgres://app:secret@db.example/shop?sslmode=verify-full', { tls: 'verify-full' }],
  [
    'makes require with a root certificate verify-ca, as libpq does',
    'postgres://app:secret@db.example/shop?sslmode=require&sslrootcert=/ca.pem',
    { tls: 'verify-ca', rootCertFile: '/ca.pem' },
  ],
  [
    'makes sslrootcert=system verify-full, as libpq does',
    'postgres://app:secret@db.example/shop?sslrootcert=system',
    { tls: 'verify-full', rootCertFile: 'system' },
  ],
]

for (const [title, url, different] of accepted) {
  test(`readUrl() ${title}`, () => assert.deepEqual(targetOf(read(url)), { ...plain, ...different }))
}

/** Each character that means something in a URL: what becomes of `pass?word` when it is written as it is. */
const raw: [character: string, becomes: 'kept' | RegExp][] = [
  ['@', 'kept'],
  [':', 'kept'],
  ['#', 'kept'],
  ['/', /percent-encode the password/],
  ['?', /percent-encode the password/],
  ['%', /write % as %25/],
  [' ', /a space is %20/],
  ['&', 'kept'],
  ['=', 'kept'],
  ['+', 'kept'],
  [',', 'kept'],
  ['[', 'kept'],
  ['é', 'kept'],
]

for (const [character, becomes] of raw) {
  test(`readUrl() keeps an encoded ${character} in the password`, () => {
    const url = `postgres://app:pass${encodeURIComponent(character)}word@db.example/shop`
    assert.deepEqual(targetOf(read(url)), { ...plain, password: `pass${character}word` })
  })

  test(`readUrl() ${becomes === 'kept' ? 'keeps' : 'refuses'} a ${character} in the password as it is`, () => {
    const reading = read(`postgres://app:pass${character}word@db.example/shop`)
    if (becomes === 'kept') assert.equal(targetOf(reading).password, `pass${character}word`)
    else assert.match(faultsOf(reading), becomes)
  })
}

const every = Array.from({ length: 127 }, (_, index) => String.fromCharCode(index + 1))
const nasty = [
  ...every,
  every.slice(31).join(''),
  'pä$$wörd',
  '密码🔑',
  '%2540',
  '***',
  '\\',
  'a@b:c/d?e#f%g&h=i',
]

test('readUrl() gives back every password that was percent-encoded', () => {
  for (const password of nasty) {
    const encoded = encodeURIComponent(password)
    const shapes = [
      `postgres://app:${encoded}@db.example/shop`,
      `postgres://app@db.example/shop?password=${encoded}`,
    ]
    for (const url of shapes) assert.deepEqual(targetOf(read(url)), { ...plain, password })
  }
})

test('readUrl() never takes a password as it is for another one, or a piece of it for something else', () => {
  // %34 is left out: nobody can tell whether it was encoded.
  for (const character of every) {
    for (const password of [
      character,
      `12${character}34`,
      `${character}pw`,
      `pw${character}`,
      `p${character}@w`,
    ]) {
      const reading = read(`postgres://app:${password}@db.example/shop`)
      if ('target' in reading && !/%[0-9a-f]{2}/i.test(password))
        assert.deepEqual(flat(reading.target), { ...plain, password })
    }
  }
})

test('readUrl() takes a percent sign and two hex digits for an encoded character, like every reader of URLs', () => {
  assert.equal(targetOf(read('postgres://app:a%41b@db.example/shop')).password, 'aAb')
})

const refused: [title: string, url: string, expected: RegExp][] = [
  ['keywords of libpq', 'host=db.example user=app password=secret', /must be a URL/],
  ['another scheme', 'mysql://app:secret@db.example/shop', /must begin with postgres:\/\//],
  ['quotes around the URL', '"postgres://app:secret@db.example/shop"', /no quotes/],
  ['a newline', 'postgres://app:secret@db.example/shop\n', /control character/],
  ['a NUL', 'postgres://app:sec\0ret@db.example/shop', /control character/],
  ['port 0', 'postgres://app:secret@db.example:0/shop', /port must be a whole number from 1 to 65535/],
  ['port 65536', 'postgres://app:secret@db.example:65536/shop', /port must be/],
  ['a port in words', 'postgres://app:secret@db.example:5432x/shop', /port must be/],
  ['several hosts', 'postgres://app:secret@one,two/shop', /one host/],
  ['several hosts with ports', 'postgres://app:secret@one:1,two:2/shop', /one host/],
  ['several hosts as a parameter', 'postgres://app:secret@/shop?host=one,two', /one host/],
  ['two hosts', 'postgres://app:secret@one/shop?host=two', /sets host twice/],
  ['an IPv6 address without brackets', 'postgres://app:secret@::1/shop', /brackets/],
  ['a name in brackets', 'postgres://app:secret@[localhost]/shop', /brackets/],
  ['brackets that are not closed', 'postgres://app:secret@[::1/shop', /brackets/],
  ['something between bracket and port', 'postgres://app:secret@[::1]x:5432/shop', /brackets/],
  ['a host with odd characters', 'postgres://app:secret@db!example/shop', /host must be a name/],
  ['a / in the database', 'postgres://app:secret@db.example/shop/more', /%2F/],
  ['a # after the host', 'postgres://app:secret@db.example/shop#1', /%23/],
  ['an @ in a parameter', 'postgres://app:secret@db.example/shop?application_name=me@home', /other @ as %40/],
  ['a password with a / that could be a port', 'postgres://app:12/34@db.example/shop', /percent-encode/],
  ['an encoding that is not UTF-8', 'postgres://app:%ff@db.example/shop', /encoding in its password/],
  [
    'a malformed encoding in a parameter',
    'postgres://app@db.example/shop?sslrootcert=%zz',
    /its sslrootcert/,
  ],
  ['an encoded NUL in the user', 'postgres://a%00b:secret@db.example/shop', /user must not hold a NUL/],
  ['an encoded NUL in the password', 'postgres://app:%00@db.example/shop', /password must not hold a NUL/],
  ['an encoded NUL in the database', 'postgres://app:secret@db.example/a%00b', /dbname must not hold a NUL/],
  ['an encoded NUL in a name', 'postgres://db.example/?application_name=%00', /application_name must not/],
  [
    'an unknown parameter',
    'postgres://app:secret@db.example/shop?max=5',
    /sets parameter max, which is not one of host, port,/,
  ],
  ['ssl=true', 'postgres://app:secret@db.example/shop?ssl=true', /parameter ssl,/],
  ['a parameter called __proto__', 'postgres://app@db.example/?__proto__=x', /parameter __proto__,/],
  ['a parameter without a value', 'postgres://app:secret@db.example/shop?sslmode', /without a value/],
  ['a repeated parameter', 'postgres://db.example/?sslmode=require&sslmode=disable', /sets sslmode twice/],
  ['a repeated parameter that is left out', 'postgres://db.example/?schema=a&schema=b', /sets schema twice/],
  ['a user and a user', 'postgres://app:secret@db.example/shop?user=root', /sets user twice/],
  [
    'sslmode=allow',
    'postgres://db.example/?sslmode=allow',
    /one of disable, prefer, require, verify-ca, verify-full/,
  ],
  ['sslmode=bogus', 'postgres://db.example/?sslmode=bogus', /sslmode must be one of/],
  ['system with require', 'postgres://db.example/?sslrootcert=system&sslmode=require', /must be verify-full/],
]

for (const [title, url, expected] of refused) {
  test(`readUrl() refuses ${title}`, () => assert.match(faultsOf(read(url)), expected))
}

test('readUrl() names every fault at once, and the setting in each', () => {
  const reading = readUrl('postgres://app:%@db!:0/shop?max=5&sslmode=bogus', 'DATABASE_URL_FILE', 'osuser')
  const faults = faultsOf(reading).split('\n')
  assert.equal(faults.length, 5)
  for (const fault of faults) assert.match(fault, /^DATABASE_URL_FILE\b/)
})

test('readUrl() takes TLS from the environment where the URL does not say, as libpq does, and nothing else', () => {
  const env = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: '/ca.pem', PGPORT: '1', PGPASSWORD: 'x' }
  const of = (url: string) => targetOf(readUrl(url, 'DATABASE_URL', 'osuser', env))
  const { tls, rootCertFile, port, password } = of('postgres://db/shop')
  assert.deepEqual([tls, rootCertFile, port, password], ['verify-full', '/ca.pem', 5432, ''])
  assert.equal(of('postgres://db/shop?sslmode=disable').tls, 'disable')
  assert.match(
    faultsOf(readUrl('postgres://db/shop', 'DATABASE_URL', 'osuser', { PGSSLMODE: 'bogus' })),
    /^PGSSLMODE must be one of/,
  )
})

test('readUrl() refuses to connect as nobody', () => {
  assert.match(faultsOf(readUrl('postgres://db.example/shop', 'DATABASE_URL', '')), /user must be set/)
})

test('readUrl() leaves out what hosting providers add, and names it', () => {
  const added =
    'schema=public&pgbouncer=true&connection_limit=1&pool_timeout=0&connect_timeout=5&channel_binding=require'
  const reading = read(`postgres://app:secret@db.example/shop?${added}`)
  assert.deepEqual(targetOf(reading), plain)
  assert.deepEqual(
    'leftOut' in reading && reading.leftOut,
    added
      .split('&')
      .map(text => text.split('=')[0])
      .sort(),
  )
})

test('readUrl() never repeats the password in a fault, whatever is wrong with the URL', () => {
  const secret = 'Tr0ub4dor'
  const around = ['', ...'@:/?#% &=,[]"', '%zz', '%00', '%ff', '&x=', '&password=', '://', '\n']
  const shapes = [
    (password: string) => `postgres://app:${password}@db!example:0/shop?bogus=1`,
    (password: string) => `postgres://app:${password}@db.example:99999/a/b`,
    (password: string) => `postgres://app:${password}`,
    (password: string) => `postgres://app@db.example/?password=${password}=&sslmode=bogus`,
    (password: string) => `postgres://db.example/?sslmode=${password}&port=${password}&host=!${password}`,
    (password: string) => `mysql://app:${password}@db.example/shop`,
    (password: string) => `host=db.example password=${password}`,
    (password: string) => password,
  ]
  for (const before of around) {
    for (const after of around) {
      for (const shape of shapes) {
        const reading = read(shape(`${before}${secret}${after}`))
        if ('faults' in reading) assert.doesNotMatch(inspect(reading), /Tr0ub4dor/)
        else
          assert.doesNotMatch(
            maskedUrlOf(nested({ ...flat(reading.target), user: '', host: '', database: '' })),
            /Tr0ub4dor/,
          )
      }
    }
  }
})

test('readVariables() reads the variables of libpq', () => {
  const env = {
    PGHOST: '/run/pg',
    PGPORT: '5433',
    PGUSER: 'app',
    PGPASSWORD: ' %41@:/?# ',
    PGDATABASE: 'shop',
    PGSSLMODE: 'verify-ca',
    PGSSLROOTCERT: '/ca.pem',
  }
  assert.deepEqual(targetOf(readVariables(env, 'osuser')), {
    ...plain,
    host: '/run/pg',
    port: 5433,
    password: ' %41@:/?# ',
    tls: 'verify-ca',
    rootCertFile: '/ca.pem',
    rootCertSetting: 'PGSSLROOTCERT',
  })
})

test('readVariables() has the defaults of libpq, and localhost; an empty variable is unset', () => {
  const who = { user: 'osuser', database: 'osuser', password: '' }
  const expected = { ...plain, host: 'localhost', ...who, rootCertSetting: 'PGSSLROOTCERT' }
  assert.deepEqual(targetOf(readVariables({}, 'osuser')), expected)
  assert.deepEqual(targetOf(readVariables({ PGPORT: '', PGHOST: '', PGSSLMODE: '' }, 'osuser')), expected)
})

test('readVariables() names each variable that is wrong', () => {
  const env = { PGHOST: 'one,two', PGPORT: '99999', PGUSER: 'a\0b', PGSSLMODE: 'bogus' }
  assert.deepEqual(faultsOf(readVariables(env, 'osuser')).match(/^\w+/gm), [
    'PGUSER',
    'PGHOST',
    'PGPORT',
    'PGSSLMODE',
  ])
})

const masked: [different: Partial<Flat>, url: string][] = [
  [{}, 'postgres://app:***@db.example:5432/shop'],
  [{ password: '' }, 'postgres://app@db.example:5432/shop'],
  [{ host: '::1' }, 'postgres://app:***@[::1]:5432/shop'],
  [{ host: 'fe80::1%eth0' }, 'postgres://app:***@[fe80::1%25eth0]:5432/shop'],
  [{ host: '/run/my pg' }, 'postgres://app:***@:5432/shop?host=/run/my%20pg'],
  [{ user: 'a@b\n', database: 'x/y' }, 'postgres://a%40b%0A:***@db.example:5432/x%2Fy'],
]

for (const [different, url] of masked) {
  test(`maskedUrlOf() gives ${url}, which readUrl() reads`, () => {
    const target = { ...plain, ...different }
    assert.equal(maskedUrlOf(nested(target)), url)
    assert.deepEqual(targetOf(read(url)), { ...target, password: target.password && '***' })
  })
}
