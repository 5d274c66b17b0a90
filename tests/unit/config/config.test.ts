// What may be set, what happens when it is not, and what is said when it is wrong.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import {
  type Config,
  describeConfig,
  readClientConfig,
  readConfig,
  urlOf,
} from '../../../lib/config/config.ts'
import { settings, settingsHelp } from '../../../lib/config/settings.ts'
import type { Environment } from '../../../lib/conninfo/conninfo.ts'
import { ConfigError } from '../../../lib/error.ts'

const DATABASE_URL = 'postgres://app:secret@db.example/shop'
const pem = '-----BEGIN CERTIFICATE-----\n'

/** Reads from `files` as the system would; all belong to the user, who alone may read them. */
function readFrom(files: Environment) {
  return (path: string) => {
    const text = files[path]
    if (text === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT', path })
    return { text, mode: 0o600, ownerId: 1000 }
  }
}

const read = (env: Environment, files: Environment = {}) => readConfig(env, readFrom(files), 'osuser')

function errorOf(action: () => unknown): ConfigError {
  try {
    action()
  } catch (error) {
    assert(error instanceof ConfigError)
    return error
  }
  assert.fail('was accepted')
}

test('readConfig() needs nothing but a database; an empty variable is unset', () => {
  const expected = {
    host: undefined,
    port: 8000,
    timeoutMs: 2000,
    connectTimeoutMs: 5000,
    sessionMaxAgeMs: 60_000,
    slowMs: 100,
    unhealthyStatus: 503,
    details: 'on',
    drainMs: 5000,
    logLevel: 'info',
    logFormat: undefined,
    maskedUrl: 'postgres://app:***@db.example:5432/shop',
    understood: [
      ['host', 'db.example'],
      ['port', '5432'],
      ['user', 'app'],
      ['password', 'set'],
      ['database', 'shop'],
      ['application', 'pg-health'],
      ['TLS', 'prefer: TLS when the server has it, else plain text; the server is not verified'],
    ],
    leftOut: [],
  }
  const empty = Object.fromEntries(settings.map(({ name }) => [name, '']))
  for (const env of [{ DATABASE_URL }, { ...empty, DATABASE_URL }]) {
    const { readConninfo, ...config } = read(env)
    assert.deepEqual(config, expected)
    assert.equal(readConninfo().password, 'secret')
  }
})

const numbers: [name: string, key: keyof Config, least: number, most: number][] = [
  ['PORT', 'port', 0, 65_535],
  ['HEALTH_TIMEOUT_MS', 'timeoutMs', 200, 60_000],
  ['HEALTH_CONNECT_TIMEOUT_MS', 'connectTimeoutMs', 100, 300_000],
  ['HEALTH_SESSION_MAX_AGE_MS', 'sessionMaxAgeMs', 1000, 86_400_000],
  ['HEALTH_SLOW_MS', 'slowMs', 1, 60_000],
  ['DRAIN_MS', 'drainMs', 0, 600_000],
]

for (const [name, key, least, most] of numbers) {
  test(`readConfig() takes ${name} from ${least} to ${most}, in digits alone`, () => {
    for (const value of [least, most]) assert.equal(read({ DATABASE_URL, [name]: String(value) })[key], value)
    const wrong = ['5s', '1e3', ' 5000', '5000 ', '-1', '+5', '0x10', '500.0', 'NaN', '9'.repeat(400)]
    for (const value of [...wrong, String(least - 1), String(most + 1)]) {
      const { faults } = errorOf(() => read({ DATABASE_URL, [name]: value }))
      const unit = name.endsWith('_MS') ? ' of milliseconds' : ''
      assert.deepEqual(faults, [`${name} must be a whole number${unit} from ${least} to ${most}`])
    }
  })
}

test('readConfig() takes 200 or 500 to 599 as HEALTH_UNHEALTHY_STATUS', () => {
  for (const status of [200, 500, 503, 599]) {
    assert.equal(read({ DATABASE_URL, HEALTH_UNHEALTHY_STATUS: String(status) }).unhealthyStatus, status)
  }
  for (const status of ['204', '301', '404', '499', '600', '5030', '5xx']) {
    errorOf(() => read({ DATABASE_URL, HEALTH_UNHEALTHY_STATUS: status }))
  }
})

test('readConfig() takes known words alone as LOG_LEVEL, LOG_FORMAT and HEALTH_DETAILS', () => {
  const { logLevel, logFormat } = read({ DATABASE_URL, LOG_LEVEL: 'error', LOG_FORMAT: 'json' })
  assert.deepEqual([logLevel, logFormat], ['error', 'json'])
  const { faults } = errorOf(() => read({ DATABASE_URL, LOG_LEVEL: 'INFO', LOG_FORMAT: 'xml' }))
  assert.deepEqual(faults, [
    'LOG_LEVEL must be one of info, warn, error',
    'LOG_FORMAT must be one of text, json',
  ])
})

test('readConfig() takes a name or an address as HOST', () => {
  for (const host of ['0.0.0.0', '::', '::1', 'localhost'])
    assert.equal(read({ DATABASE_URL, HOST: host }).host, host)
  for (const host of ['http://x', '[::]', 'a b']) errorOf(() => read({ DATABASE_URL, HOST: host }))
})

test('readConfig() refuses the platform that conda exports as HOST, and names HOST', () => {
  for (const host of ['x86_64-conda-linux-gnu', 'aarch64-conda-linux-gnu', 'x86_64-apple-darwin13.4.0']) {
    const { faults } = errorOf(() => read({ DATABASE_URL, HOST: host }))
    assert.deepEqual(faults, [
      'HOST must be a host name or an address; it looks like the platform that conda exports: unset HOST',
    ])
  }
  for (const host of ['my-linux-box', 'db-linux.example', 'web_1']) read({ DATABASE_URL, HOST: host })
})

test('readConfig() knows a service link of Kubernetes in PORT', () => {
  assert.match(
    errorOf(() => read({ DATABASE_URL, PORT: 'tcp://10.0.0.1:80' })).message,
    /enableServiceLinks: false/,
  )
})

test('readConfig() without a database says what to set, and how to try it', () => {
  for (const env of [{}, { DATABASE_URL: '', PGHOST: '' }]) {
    const { faults } = errorOf(() => read(env))
    assert.equal(faults.length, 1)
    assert.match(String(faults), /DATABASE_URL.*DATABASE_URL_FILE.*PGHOST.*npm run dev/)
  }
})

test('readConfig() names every fault at once', () => {
  const { faults, message } = errorOf(() =>
    read({ DATABASE_URL: 'postgres://h:0/', PORT: 'x', DRAIN_MS: 'x' }),
  )
  assert.deepEqual(
    faults.map(fault => fault.split(/\W/)[0]),
    ['DATABASE_URL', 'PORT', 'DRAIN_MS'],
  )
  assert.equal(message, faults.join('; '))
})

test('readConfig() prefers the URL to the variables of libpq, which fill in what it does not say', () => {
  const { hosts, password } = read({ DATABASE_URL, PGHOST: 'other', PGPASSWORD: 'other' }).readConninfo()
  assert.deepEqual([hosts[0].host, password], ['db.example', 'secret'])
  const url = 'postgres://app@db.example/shop'
  assert.equal(read({ DATABASE_URL: url, PGPASSWORD: 'other' }).readConninfo().password, 'other')
  const files = { '/password': 'from a file' }
  const fromFile = read({ DATABASE_URL: url, PGPASSWORD_FILE: '/password' }, files)
  assert.equal(fromFile.readConninfo().password, 'from a file')
})

for (const [name, value] of Object.entries({
  PGHOST: 'h',
  PGPORT: '5432',
  PGUSER: 'u',
  PGDATABASE: 'd',
  PGPASSWORD: 'p',
})) {
  test(`readConfig() reads the variables of libpq when ${name} is set and there is no URL`, () => {
    assert.match(read({ [name]: value }).maskedUrl, /^postgres:/)
  })
}

test('readConfig() names the parameters of the URL that it leaves out', () => {
  assert.deepEqual(read({ DATABASE_URL: `${DATABASE_URL}?pgbouncer=true` }).leftOut, ['pgbouncer'])
})

test('readConfig() does not mind a newline after the URL', () => {
  assert.equal(read({ DATABASE_URL: `${DATABASE_URL}\n` }).readConninfo().database, 'shop')
})

test('readConninfo() reads DATABASE_URL_FILE again, so that a rotated password is picked up', () => {
  const files = { '/url': `${DATABASE_URL}\n` }
  const { readConninfo } = read({ DATABASE_URL_FILE: '/url' }, files)
  files['/url'] = 'postgres://app:rotated@db.example/shop\r\n'
  assert.equal(readConninfo().password, 'rotated')
})

test('readConninfo() gives the last good value while a file is wrong, and says so once each time', () => {
  const files: Record<string, string> = { '/url': DATABASE_URL }
  const { readConninfo } = read({ DATABASE_URL_FILE: '/url' }, files)
  const said: (readonly string[])[] = []
  const readNow = () => readConninfo(faults => said.push(faults)).password
  files['/url'] = ''
  assert.deepEqual([readNow(), readNow()], ['secret', 'secret'])
  assert.deepEqual(said, [['DATABASE_URL_FILE names an empty file']])
  files['/url'] = 'postgres://app:rotated@db.example/shop'
  assert.equal(readNow(), 'rotated')
  delete files['/url']
  assert.equal(readNow(), 'rotated')
  assert.deepEqual(said[1], ['DATABASE_URL_FILE names a file that cannot be read (ENOENT)'])
  assert.equal(readConninfo().password, 'rotated')
})

test('readConninfo() gives the last good password while PGPASSWORD_FILE or the password file is empty', () => {
  const files = { '/password': 'secret', '/pgpass': '*:*:*:*:secret' }
  for (const [name, path] of [
    ['PGPASSWORD_FILE', '/password'],
    ['PGPASSFILE', '/pgpass'],
  ] as const) {
    const { readConninfo } = read({ PGHOST: 'h', [name]: path }, files)
    files[path] = ''
    const said: string[] = []
    assert.equal(readConninfo(faults => said.push(...faults)).password, 'secret')
    assert.equal(said.length, 1)
  }
})

test('readConninfo() reads PGPASSWORD_FILE again, and strips one newline from its end', () => {
  const files = { '/password': 'secret\n' }
  const { readConninfo } = read({ PGHOST: 'db.example', PGPASSWORD_FILE: '/password' }, files)
  assert.equal(readConninfo().password, 'secret')
  files['/password'] = 'rotated'
  assert.equal(readConninfo().password, 'rotated')
  const { faults } = errorOf(() => read({ PGPASSWORD_FILE: '/two' }, { '/two': 'secret\n\n' }))
  assert.match(faults.join(), /^PGPASSWORD_FILE holds a line break/)
})

test('readConninfo() brings the root certificate along', () => {
  const files = { '/ca.pem': pem }
  const withCertificate = `${DATABASE_URL}?sslmode=verify-full&sslrootcert=`
  assert.equal(read({ DATABASE_URL: `${withCertificate}/ca.pem` }, files).readConninfo().rootCert, pem)
  assert.equal(read({ DATABASE_URL: `${withCertificate}system` }, files).readConninfo().rootCert, undefined)
  assert.equal(read({ DATABASE_URL }, files).readConninfo().rootCert, undefined)
})

const files = {
  '/bad': 'x',
  '/empty': '\n',
  '/url': DATABASE_URL,
  '/ca.pem': pem,
  '/key.pem': '-----BEGIN PRIVATE KEY-----\n',
}
const wrong: [title: string, env: Environment, fault: RegExp][] = [
  ['two sources of the URL', { DATABASE_URL, DATABASE_URL_FILE: '/url' }, /are both set/],
  ['two sources of the password', { PGPASSWORD: 'p', PGPASSWORD_FILE: '/url' }, /are both set/],
  ['a missing URL file', { DATABASE_URL_FILE: '/none' }, /DATABASE_URL_FILE .* cannot be read \(ENOENT\)/],
  ['a file that holds no URL', { DATABASE_URL_FILE: '/bad' }, /^DATABASE_URL_FILE must begin with/],
  ['a missing password file', { PGPASSWORD_FILE: '/none' }, /PGPASSWORD_FILE .* cannot be read \(ENOENT\)/],
  ['an empty URL file', { DATABASE_URL_FILE: '/empty' }, /DATABASE_URL_FILE names an empty file/],
  ['an empty password file', { PGPASSWORD_FILE: '/empty' }, /PGPASSWORD_FILE names an empty file/],
  [
    'a missing certificate',
    { PGHOST: 'h', PGSSLROOTCERT: '/none' },
    /^PGSSLROOTCERT .* cannot be read \(ENOENT\)/,
  ],
  [
    'a missing certificate of the URL',
    { DATABASE_URL: `${DATABASE_URL}?sslrootcert=/none` },
    /^DATABASE_URL: sslrootcert .* cannot be read \(ENOENT\)/,
  ],
  ['a certificate that is none', { PGHOST: 'h', PGSSLROOTCERT: '/key.pem' }, /without a certificate/],
]

for (const [title, env, fault] of wrong) {
  test(`readConfig() refuses ${title}, in one sentence`, () => {
    const { faults } = errorOf(() => read(env, files))
    assert.equal(faults.length, 1)
    assert.match(String(faults), fault)
  })
}

test('ConfigError never holds a secret, not even one that was put into the wrong variable', () => {
  const url = 'postgres://app:Tr0ub4dor@h:0/d'
  const environments: Environment[] = [
    ...settings.map(({ name }) => ({ DATABASE_URL: url, [name]: url })),
    { DATABASE_URL: 'postgres://app:Tr0ub4dor/@h/d' },
    { DATABASE_URL: 'host=h password=Tr0ub4dor sslmode=bogus' },
    { DATABASE_URL_FILE: 'postgres://app:Tr0ub4dor@h/d' },
    { PGPASSWORD_FILE: 'Tr0ub4dor' },
    { PGPASSWORD: 'Tr0ub4dor', PGPORT: 'Tr0ub4dor', PGHOST: 'Tr0ub4dor!', PGSSLMODE: 'Tr0ub4dor' },
    { PGHOST: 'h', PGSSLROOTCERT: 'Tr0ub4dor' },
  ]
  for (const env of environments) {
    const error = errorOf(() => read(env))
    for (const text of [
      error.message,
      error.stack,
      JSON.stringify(error),
      inspect(error, { depth: 9, showHidden: true }),
    ]) {
      assert.doesNotMatch(String(text), /Tr0ub4dor/)
    }
  }
})

test('readClientConfig() needs no database', () => {
  assert.deepEqual(readClientConfig({}), { host: undefined, port: 8000, timeoutMs: 2000, slowMs: 100 })
  const set = { HOST: '::1', PORT: '0', HEALTH_SLOW_MS: '7', DRAIN_MS: 'x' }
  assert.deepEqual(readClientConfig(set), { host: '::1', port: 0, timeoutMs: 2000, slowMs: 7 })
  assert.match(errorOf(() => readClientConfig({ PORT: 'x' })).message, /^PORT must be/)
})

test('settingsHelp() lists every setting with its default', () => {
  const help = settingsHelp()
  for (const { name, defaultText: text, meaning } of settings) {
    assert(help.includes(`  ${name}${text && ` (${text})`}\n      ${meaning}`), name)
  }
})

test('settings has no name that Kubernetes would set for a Service called health', () => {
  for (const { name } of settings) assert.doesNotMatch(name, /^HEALTH_(PORT|SERVICE)/)
})

test('readConfig() reads no certificate where there is no TLS', () => {
  const { tls, rootCert } = read({
    DATABASE_URL: `${DATABASE_URL}?sslmode=disable`,
    PGSSLROOTCERT: '/none',
  }).readConninfo()
  assert.deepEqual([tls.mode, rootCert], ['disable', undefined])
})

test('describeConfig() prints what was understood, line by line, and no password', () => {
  const ca = { '/ca.pem': pem }
  const DATABASE_URL =
    'postgres://app:Tr0ub4dor@db/shop?sslmode=verify-full&sslrootcert=/ca.pem&pool=5&hostaddr=::1'
  assert.equal(
    describeConfig(read({ DATABASE_URL, PGCONNECT_TIMEOUT: '5', PGOPTIONS: '-c geqo=off' }, ca)),
    `The settings are right: postgres://app:***@db:5432/shop
  host        db
  address     ::1
  port        5432
  user        app
  password    set
  database    shop
  application pg-health
  options     set
  TLS         verify-full: TLS always; the server has a certificate from an authority of /ca.pem, for db
  left out    pool, PGCONNECT_TIMEOUT
`,
  )
  assert.match(describeConfig(read({ PGHOST: '/run/pg' })), /TLS +none: a Unix socket has no TLS\n$/)
  assert.doesNotMatch(
    describeConfig(read({ DATABASE_URL: 'postgres://a%0Ab:Tr0ub4dor@h/d' })),
    /a\nb|Tr0ub4dor/,
  )
})

test('urlOf() writes an IPv6 address in brackets, and encodes its zone', () => {
  assert.equal(urlOf('h', 1), 'http://h:1/health')
  assert.equal(urlOf('::1', 8000), 'http://[::1]:8000/health')
  assert.equal(urlOf('fe80::1%eth0', 8000), 'http://[fe80::1%25eth0]:8000/health')
})
