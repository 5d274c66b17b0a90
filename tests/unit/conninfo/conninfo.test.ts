// What may be written as a connection string, and what it means; no server is needed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import {
  type Conninfo,
  conninfoOf,
  maskedUrlOf,
  partsOfVariables,
  readParts,
  readUrl,
  socketPathOf,
  type Tls,
} from '../../../lib/conninfo/conninfo.ts'
import { parameters } from '../../../lib/conninfo/parameters.ts'
import type { Result } from '../../../lib/error.ts'

const noTls: Tls = {
  mode: 'prefer',
  negotiation: 'postgres',
  rootCertFile: undefined,
  certFile: undefined,
  keyFile: undefined,
  crlFile: undefined,
  keyPassword: '',
  minVersion: undefined,
  maxVersion: undefined,
}

const plain: Conninfo = {
  hosts: [{ host: 'db.example', address: undefined, port: 5432 }],
  targetSessionAttrs: 'any',
  user: 'app',
  password: 'secret',
  database: 'shop',
  applicationName: 'pg-health',
  options: '',
  tls: noTls,
}

/** Where something else is written, and everything that depends on it. */
const at = (host: string, port = 5432): Partial<Conninfo> => ({ hosts: [{ host, address: undefined, port }] })
const tls = (different: Partial<Tls>): Partial<Conninfo> => ({ tls: { ...noTls, ...different } })

const read = (url: string) => readUrl(url, 'DATABASE_URL', 'osuser')
const readVariables = (env: Record<string, string>) => conninfoOf(partsOfVariables(env), 'osuser')

function given<T>(result: Result<T>): T {
  if ('faults' in result) assert.fail(result.faults.join('\n'))
  return result.value
}

function faultsOf(result: Result<unknown>): string {
  if ('value' in result) assert.fail(`was accepted: ${inspect(result.value)}`)
  return result.faults.join('\n')
}

/** What each URL means, where it differs from postgres://app:secret@db.example/shop. */
const accepted: [title: string, url: string, different: Partial<Conninfo>][] = [
  ['fills in the defaults of libpq', 'postgres://app:secret@db.example/shop', {}],
  ['takes postgresql:// as well', 'postgresql://app:secret@db.example/shop', {}],
  ['takes a port', 'postgres://app:secret@db.example:6543/shop', at('db.example', 6543)],
  ['takes an empty port as none', 'postgres://app:secret@db.example:/shop', {}],
  ['names the database after the user', 'postgres://app:secret@db.example', { database: 'app' }],
  ['takes an empty database as none', 'postgres://app:secret@db.example/', { database: 'app' }],
  ['has no password but the one of the URL', 'postgres://app@db.example/shop', { password: '' }],
  ['takes the system user when there is none', 'postgres://:secret@db.example/shop', { user: 'osuser' }],
  ['takes localhost when there is no host', 'postgres://app:secret@/shop', at('localhost')],
  ['decodes user and database', 'postgres://a%40b:secret@db.example/s%2Fh', { user: 'a@b', database: 's/h' }],
  ['lets a user hold an @', 'postgres://app@tenant:secret@db.example/shop', { user: 'app@tenant' }],
  ['reads an IPv6 address in brackets', 'postgres://app:secret@[::1]:5433/shop', at('::1', 5433)],
  ['reads an IPv6 zone', 'postgres://app:secret@[fe80::1%25eth0]/shop', at('fe80::1%eth0')],
  ['decodes a socket directory', 'postgres://app:secret@%2Frun%2Fpg/shop', at('/run/pg')],
  ['reads ?host=, ?port=', 'postgres://app:secret@/shop?host=/run/pg&port=5433', at('/run/pg', 5433)],
  [
    'prefers a socket in ?host=',
    'postgres://app:secret@localhost/shop?host=/cloudsql/a:b',
    at('/cloudsql/a:b'),
  ],
  ['reads all from parameters', 'postgres://?host=db.example&user=app&password=secret&dbname=shop', {}],
  ['keeps = in a parameter', 'postgres://app@db.example/shop?password=se=cret==', { password: 'se=cret==' }],
  ['does not make + a space', 'postgres://app:a+b@db.example/shop', { password: 'a+b' }],
  [
    'reads application_name',
    'postgres://app:secret@db.example/shop?application_name=x%20y',
    { applicationName: 'x y' },
  ],
  ['reads sslmode', 'postgres://app:secret@db.example/shop?sslmode=disable', tls({ mode: 'disable' })],
  ['leaves require alone', 'postgres://app:secret@db.example/shop?sslmode=require', tls({ mode: 'require' })],
  [
    'reads verify-full',
    'postgres://app:secret@db.example/shop?sslmode=verify-full',
    tls({ mode: 'verify-full' }),
  ],
  [
    'makes require with a root certificate verify-ca, as libpq does',
    'postgres://app:secret@db.example/shop?sslmode=require&sslrootcert=/ca.pem',
    tls({ mode: 'verify-ca', rootCertFile: '/ca.pem' }),
  ],
  [
    'leaves no-verify alone beside a root certificate',
    'postgres://app:secret@db.example/shop?sslmode=no-verify&sslrootcert=/ca.pem',
    tls({ mode: 'require', rootCertFile: '/ca.pem' }),
  ],
  [
    'makes sslrootcert=system verify-full, as libpq does',
    'postgres://app:secret@db.example/shop?sslrootcert=system',
    tls({ mode: 'verify-full', rootCertFile: 'system' }),
  ],
  ['does not mind a newline after the URL', 'postgres://app:secret@db.example/shop\n', {}],
  ['lets the same be said twice', 'postgres://app:secret@db.example/shop?user=app&user=app', {}],
]

for (const [title, url, different] of accepted) {
  test(`readUrl() ${title}`, () => assert.deepEqual(given(read(url)), { ...plain, ...different }))
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
    assert.deepEqual(given(read(url)), { ...plain, password: `pass${character}word` })
  })

  test(`readUrl() ${becomes === 'kept' ? 'keeps' : 'refuses'} a ${character} in the password as it is`, () => {
    const reading = read(`postgres://app:pass${character}word@db.example/shop`)
    if (becomes === 'kept') assert.equal(given(reading).password, `pass${character}word`)
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
    for (const url of shapes) assert.deepEqual(given(read(url)), { ...plain, password })
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
      if ('value' in reading && !/%[0-9a-f]{2}/i.test(password))
        assert.deepEqual(reading.value, { ...plain, password })
    }
  }
})

test('readUrl() decodes a percent sign with two hex digits, as every reader of URLs does', () => {
  assert.equal(given(read('postgres://app:a%41b@db.example/shop')).password, 'aAb')
})

const lists: [title: string, url: string, hosts: readonly string[]][] = [
  ['each with its port', 'postgres://app@one:1,two:2/shop', ['one 1', 'two 2']],
  ['the second without a port, which is 5432', 'postgres://app@one:1,two/shop', ['one 1', 'two 5432']],
  ['IPv6 in brackets', 'postgres://app@[::1]:1,two:2,[fe80::2]/shop', ['::1 1', 'two 2', 'fe80::2 5432']],
  ['a socket among them', 'postgres://app@%2Frun%2Fpg:1,two:2/shop', ['/run/pg 1', 'two 2']],
  ['as a parameter, one port for all', 'postgres://app@/shop?host=one,two&port=7', ['one 7', 'two 7']],
  ['as a parameter, a port each', 'postgres://app@/shop?host=one,two&port=7,8', ['one 7', 'two 8']],
  ['as a parameter, an empty port', 'postgres://app@/shop?host=one,two&port=7,', ['one 7', 'two 5432']],
  ['with addresses', 'postgres://app@/shop?host=a,b&hostaddr=::1,', ['a ::1 5432', 'b 5432']],
]

for (const [title, url, expected] of lists) {
  test(`readUrl() reads several hosts: ${title}`, () => {
    const { hosts } = given(read(url))
    const shown = hosts.map(({ host, address, port }) => [host, address, port].filter(Boolean).join(' '))
    assert.deepEqual(shown, expected)
  })
}

test('the variables of libpq name several hosts, and the attributes of the session', () => {
  const env = { PGHOST: 'one,two', PGPORT: '7', PGTARGETSESSIONATTRS: 'read-write', PGUSER: 'app' }
  const { hosts, targetSessionAttrs } = given(conninfoOf(partsOfVariables(env), 'me'))
  assert.deepEqual(
    hosts.map(({ host, port }) => `${host} ${port}`),
    ['one 7', 'two 7'],
  )
  assert.equal(targetSessionAttrs, 'read-write')
})

const refused: [title: string, url: string, expected: RegExp][] = [
  ['another scheme', 'mysql://app:secret@db.example/shop', /for mysql, not for PostgreSQL/],
  ['a quote at one end alone', '"postgres://app:secret@db.example/shop', /must begin with postgres:\/\//],
  ['a newline inside', 'postgres://app:secret@db.example\n/shop', /control character/],
  ['a NUL', 'postgres://app:sec\0ret@db.example/shop', /control character/],
  ['port 0', 'postgres://app:secret@db.example:0/shop', /port must be a whole number from 1 to 65535/],
  ['port 65536', 'postgres://app:secret@db.example:65536/shop', /port must be/],
  ['a port in words', 'postgres://app:secret@db.example:5432x/shop', /port must be/],
  ['an empty host in a list', 'postgres://app:secret@one,,two/shop', /host has an empty host in its list/],
  ['an empty host at the end', 'postgres://app:secret@one:1,:2/shop', /host has an empty host in its list/],
  [
    'two ports for three hosts',
    'postgres://app@/shop?host=a,b,c&port=1,2',
    /port must be one number, or as many/,
  ],
  ['one wrong port of two', 'postgres://app:secret@one:1,two:70000/shop', /port must be a whole number/],
  ['one wrong host of two', 'postgres://app:secret@one,t!wo/shop', /host must be a name/],
  [
    'other session attributes',
    'postgres://db.example/?target_session_attrs=writable',
    /target_session_attrs must/,
  ],
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
    'an unknown parameter about trust',
    'postgres://h/shop?sslfoo=5',
    /sets parameter sslfoo, which is not known/,
  ],
  ['a parameter without a value', 'postgres://app:secret@db.example/shop?sslmode', /sslmode has no value/],
  ['a repeated parameter', 'postgres://db.example/?sslmode=require&sslmode=disable', /sets sslmode twice/],
  ['a user and a user', 'postgres://app:secret@db.example/shop?user=root', /sets user twice/],
  ['sslmode=bogus', 'postgres://db.example/?sslmode=bogus', /sslmode must be one of/],
  ['system with require', 'postgres://db.example/?sslrootcert=system&sslmode=require', /must be verify-full/],
]

for (const [title, url, expected] of refused) {
  test(`readUrl() refuses ${title}`, () => assert.match(faultsOf(read(url)), expected))
}

test('readUrl() names every fault at once, and the setting in each', () => {
  const reading = readUrl('postgres://app:%@db!:0/shop?sslfoo=5&sslmode=bogus', 'DATABASE_URL_FILE', 'osuser')
  const faults = faultsOf(reading).split('\n')
  assert.equal(faults.length, 5)
  for (const fault of faults) assert.match(fault, /^DATABASE_URL_FILE\b/)
})

test('readUrl() takes from the variables of libpq what the URL does not say, as libpq does', () => {
  const env = {
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: '/ca.pem',
    PGPORT: '1',
    PGPASSWORD: 'x',
    PGHOST: 'other',
  }
  const of = (url: string) => given(readUrl(url, 'DATABASE_URL', 'osuser', env))
  const { tls, hosts, password } = of('postgres://db/shop')
  assert.deepEqual([tls.mode, tls.rootCertFile, password], ['verify-full', '/ca.pem', 'x'])
  assert.deepEqual(hosts, [{ host: 'db', address: undefined, port: 1 }])
  assert.equal(of('postgres://db/shop?sslmode=disable').tls.mode, 'disable')
  assert.equal(of('postgres:///shop').hosts[0].host, 'other')
  // What JDBC's drivers do not read, the service that has this string does not mean.
  assert.equal(of('jdbc:postgresql://db/shop').hosts[0].port, 5432)
  assert.match(
    faultsOf(readUrl('postgres://db/shop', 'DATABASE_URL', 'osuser', { PGSSLMODE: 'bogus' })),
    /^PGSSLMODE must be one of/,
  )
})

test('readUrl() refuses to connect as nobody', () => {
  assert.match(faultsOf(readUrl('postgres://db.example/shop', 'DATABASE_URL', '')), /^PGUSER must be set/)
})

test('readParts() leaves out what changes neither place nor trust, known or not, and names it', () => {
  const added = 'schema=public&pgbouncer=true&connect_timeout=5&never_heard_of=x&max=5&__proto__=x'
  const parts = given(readParts(`postgres://app:secret@db.example/shop?${added}`, 'DATABASE_URL'))
  assert.deepEqual(given(conninfoOf(parts, 'osuser')), plain)
  const names = added.split('&').map(text => text.split('=')[0])
  assert.deepEqual(parts.leftOut, names)
})

test('readParts() says that a connection without channel binding is weaker than asked for', () => {
  const parts = given(readParts('postgres://h/d?channel_binding=require', 'DATABASE_URL'))
  assert.deepEqual(parts.leftOut, ['channel_binding=require (postgres.js has none: weaker than asked for)'])
})

test('readParts() names no parameter that may be a piece of a password', () => {
  for (const text of [
    'postgres://app@db.example/shop?password=a&Tr0ub4dor=x',
    'postgres://app:12?Tr0ub4dor=x',
    'host=h password=a Tr0ub4dor=x',
    'Host=h;Password=a;Tr0ub4dor=x',
  ]) {
    const parts = given(readParts(text, 'DATABASE_URL'))
    assert.equal(parts.leftOut.length, 1)
    assert.doesNotMatch(parts.leftOut.join(), /Tr0ub4dor/)
  }
})

test('a parameter is known in every spelling, and no two share one', () => {
  const plainNames = parameters.flatMap(({ name, aliases = [] }) =>
    [name, ...aliases].map(each => each.toLowerCase().replace(/[-_ ]/g, '')),
  )
  assert.equal(new Set(plainNames).size, plainNames.length)
  assert.equal(given(read('postgres://db/shop?SSL-Mode=Verify_Full')).tls.mode, 'verify-full')
})

test('readUrl() never repeats the password in a fault, whatever is wrong with the URL', () => {
  const secret = 'Tr0ub4dor'
  const around = ['', ...'@:/?#% &=,[]"\';\\$<>', '%zz', '%00', '%ff', '&x=', '&password=', '://', '\n']
  const shapes = [
    (password: string) => `postgres://app:${password}@db!example:0/shop?bogus=1`,
    (password: string) => `postgres://app:${password}@db.example:99999/a/b`,
    (password: string) => `postgres://app:${password}`,
    (password: string) => `postgres://app@db.example/?password=${password}=&sslmode=bogus`,
    (password: string) => `postgres://db.example/?sslmode=${password}&port=${password}&host=!${password}`,
    (password: string) => `mysql://app:${password}@db.example/shop`,
    (password: string) => `host=db.example password=${password}`,
    (password: string) => `host=db.example password='${password}' sslmode=bogus`,
    (password: string) => `host=db.example password=${password} sslmode=bogus port=x`,
    (password: string) => `Host=db.example;Password=${password};Ssl Mode=bogus`,
    (password: string) => `jdbc:postgresql://h/d?user=u&password=${password}&sslfoo=1`,
    (password: string) => `postgresql+asyncpg://u:${password}@h/d?ssl=maybe`,
    (password: string) => password,
  ]
  for (const before of around) {
    for (const after of around) {
      for (const shape of shapes) {
        const text = shape(`${before}${secret}${after}`)
        const reading = read(text)
        const parts = readParts(text, 'DATABASE_URL')
        // What is written as the name of a parameter is shown, but nothing that is written as a password.
        const isPassword = !text.includes('?sslmode=')
        if ('value' in parts && isPassword) assert.doesNotMatch(parts.value.leftOut.join(), /Tr0ub4dor/, text)
        if ('faults' in reading) assert.doesNotMatch(inspect(reading), /Tr0ub4dor/)
        else
          assert.doesNotMatch(
            maskedUrlOf({ ...reading.value, ...at(''), user: '', database: '' }),
            /Tr0ub4dor/,
          )
      }
    }
  }
})

test('partsOfVariables() reads the variables of libpq', () => {
  const env = {
    PGHOST: '/run/pg',
    PGPORT: '5433',
    PGUSER: 'app',
    PGPASSWORD: ' %41@:/?# ',
    PGDATABASE: 'shop',
    PGSSLMODE: 'verify-ca',
    PGSSLROOTCERT: '/ca.pem',
    PGSSLCERT: '/cert.pem',
    PGSSLKEY: '/key.pem',
    PGSSLCRL: '/crl.pem',
    PGSSLMINPROTOCOLVERSION: 'TLSv1.3',
    PGSSLNEGOTIATION: 'direct',
    PGAPPNAME: 'probe',
    PGOPTIONS: '-c geqo=off',
  }
  assert.deepEqual(given(readVariables(env)), {
    ...plain,
    ...at('/run/pg', 5433),
    password: ' %41@:/?# ',
    applicationName: 'probe',
    options: '-c geqo=off',
    tls: {
      ...noTls,
      mode: 'verify-ca',
      negotiation: 'direct',
      rootCertFile: '/ca.pem',
      certFile: '/cert.pem',
      keyFile: '/key.pem',
      crlFile: '/crl.pem',
      minVersion: 'TLSv1.3',
    },
  })
})

test('partsOfVariables() has the defaults of libpq, and localhost; an empty variable is unset', () => {
  const expected = { ...plain, ...at('localhost'), user: 'osuser', database: 'osuser', password: '' }
  assert.deepEqual(given(readVariables({})), expected)
  assert.deepEqual(given(readVariables({ PGPORT: '', PGHOST: '', PGSSLMODE: '' })), expected)
})

test('partsOfVariables() names each variable that is wrong', () => {
  const env = { PGHOST: 'a b', PGPORT: '99999', PGUSER: 'a\0b', PGSSLMODE: 'bogus', PGREQUIREAUTH: 'none' }
  const names = ['PGHOST', 'PGPORT', 'PGREQUIREAUTH', 'PGSSLMODE', 'PGUSER']
  assert.deepEqual(faultsOf(readVariables(env)).match(/^\w+/gm)?.sort(), names)
})

test('partsOfVariables() names a variable that holds a placeholder; a password may look like one', () => {
  const env = { PGHOST: '{{ host }}', PGUSER: '<user>', PGDATABASE: '{your_database}', PGPASSWORD: '<$>{x}' }
  const names = ['PGDATABASE', 'PGHOST', 'PGUSER']
  assert.deepEqual(
    faultsOf(readVariables(env))
      .match(/^\w+(?= has a placeholder)/gm)
      ?.sort(),
    names,
  )
})

test('conninfoOf() refuses a URL where a name belongs, because names are printed', () => {
  for (const variable of ['PGUSER', 'PGDATABASE', 'PGAPPNAME']) {
    const faults = faultsOf(readVariables({ [variable]: 'postgres://app:Tr0ub4dor@db/shop' }))
    assert.match(faults, new RegExp(`^${variable} must be a name, not a URL`))
    assert.doesNotMatch(faults, /Tr0ub4dor/)
  }
})

test('mergeParts() takes what is verified from where the mode is from', () => {
  const env = { PGSSLMODE: 'no-verify' }
  const of = (query: string) => given(readUrl(`postgres://db/shop?${query}`, 'DATABASE_URL', 'osuser', env))
  assert.equal(of('sslmode=require&sslrootcert=/ca.pem').tls.mode, 'verify-ca')
  assert.equal(of('sslrootcert=/ca.pem').tls.mode, 'require')
})

for (const name of ['PGUSER', 'PGPASSWORD', 'PGDATABASE']) {
  test(`partsOfVariables() refuses a line break in ${name}, with a hint`, () => {
    for (const value of ['Tr0ub4dor\n', 'Tr0\tub4dor', '\x7fTr0ub4dor']) {
      const faults = faultsOf(readVariables({ [name]: value }))
      assert.match(faults, new RegExp(`^${name} holds a line break .*newline`))
      assert.doesNotMatch(faults, /Tr0/)
    }
  })
}

test('conninfoOf() refuses a socket path that the kernel has no room for', () => {
  // /.s.PGSQL.5432 has 14 bytes; 107 are the limit of Linux.
  const longest = `/${'x'.repeat(92)}`
  const [place] = given(readVariables({ PGHOST: longest })).hosts
  assert.equal(socketPathOf(place)?.length, 107)
  assert.match(faultsOf(readVariables({ PGHOST: `${longest}x` })), /^PGHOST must be shorter.*107/)
  assert.match(faultsOf(readVariables({ PGHOST: `/${'é'.repeat(47)}` })), /107/)
})

test('socketPathOf() gives the socket of a directory, and none when there is an address', () => {
  assert.equal(socketPathOf({ host: '/run/pg', address: undefined, port: 5433 }), '/run/pg/.s.PGSQL.5433')
  assert.equal(socketPathOf({ host: '@pg', address: undefined, port: 1 }), '\0pg/.s.PGSQL.1')
  assert.equal(socketPathOf({ host: '/run/pg', address: '127.0.0.1', port: 1 }), undefined)
  assert.equal(socketPathOf({ host: 'db', address: undefined, port: 1 }), undefined)
})

const masked: [different: Partial<Conninfo>, url: string][] = [
  [{}, 'postgres://app:***@db.example:5432/shop'],
  [{ password: '' }, 'postgres://app@db.example:5432/shop'],
  [at('::1'), 'postgres://app:***@[::1]:5432/shop'],
  [at('fe80::1%eth0'), 'postgres://app:***@[fe80::1%25eth0]:5432/shop'],
  [at('/run/my pg'), 'postgres://app:***@:5432/shop?host=/run/my%20pg'],
  [{ user: 'a@b\n', database: 'x/y' }, 'postgres://a%40b%0A:***@db.example:5432/x%2Fy'],
]

for (const [different, url] of masked) {
  test(`maskedUrlOf() gives ${url}, which readUrl() reads`, () => {
    const target = { ...plain, ...different }
    assert.equal(maskedUrlOf(target), url)
    assert.deepEqual(given(read(url)), { ...target, password: target.password && '***' })
  })
}
