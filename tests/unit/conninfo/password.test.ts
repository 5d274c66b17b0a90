// A password as it is, with any character inside: taken where one reading is possible, else refused; never shown.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeConfig, readConfig } from '../../../lib/config/config.ts'
import { ConfigError } from '../../../lib/error.ts'

/** A way to write a password, the characters that it refuses there, and what becomes of those that it changes. */
interface Form {
  readonly write: (password: string) => string
  readonly refuses: string
  readonly changes?: readonly [character: string, becomes: string]
}

const forms: Readonly<Record<string, Form>> = {
  'a URL': { write: password => `postgres://app:${password}@db/shop?sslmode=require`, refuses: ' /?%' },
  'a URL of SQLAlchemy': {
    write: password => `postgresql+asyncpg://app:${password}@db/shop`,
    refuses: ' /?%',
  },
  'a URL of R2DBC': { write: password => `r2dbc:postgresql://app:${password}@db/shop`, refuses: ' /?%' },
  'a quoted URL': { write: password => `"postgres://app:${password}@db/shop"`, refuses: ' /?%' },
  'the query of a URL': {
    write: password => `postgres://db/shop?user=app&password=${password}&sslmode=require`,
    refuses: '#&%',
  },
  'the query of a URL with a login': {
    write: password => `postgres://app@db/shop?password=${password}&sslmode=require`,
    refuses: '#&%@',
  },
  'a URL of JDBC': {
    write: password => `jdbc:postgresql://db/shop?user=app&password=${password}&ssl=true`,
    refuses: '#&%',
    changes: ['+', ' '],
  },
  keywords: {
    write: password => `host=db user=app password=${password} dbname=shop`,
    refuses: ' ',
    changes: ['\\', ''],
  },
  'quoted keywords': {
    write: password => `host=db user=app password='${password}' dbname=shop`,
    refuses: "'",
    changes: ['\\', ''],
  },
  'a string of .NET': {
    write: password => `Host=db;Username=app;Password=${password};Database=shop`,
    refuses: ';',
  },
  'a quoted string of .NET': {
    write: password => `Host=db;Username=app;Password="${password}";Database=shop`,
    refuses: '"',
  },
}

const characters = [...Array.from({ length: 95 }, (_, index) => String.fromCharCode(index + 32)), 'é', '密']
const noFile = () => {
  throw Object.assign(new Error(), { code: 'ENOENT' })
}

/** Reads all settings: what was understood, and everything that is said about it. */
function read(DATABASE_URL: string) {
  try {
    const config = readConfig({ DATABASE_URL }, noFile, 'me')
    return { conninfo: config.readConninfo(), said: describeConfig(config) }
  } catch (error) {
    if (error instanceof ConfigError) return { conninfo: undefined, said: error.message }
    throw error
  }
}

for (const [name, { write, refuses, changes = ['', ''] }] of Object.entries(forms)) {
  test(`readConfig() takes a password as it is in ${name}, or refuses it: ${refuses}`, () => {
    for (const character of characters) {
      const text = write(`Zqa${character}Xwb`)
      const { conninfo } = read(text)
      if (refuses.includes(character)) assert.equal(conninfo, undefined, text)
      else {
        assert.equal(conninfo?.password, `Zqa${character === changes[0] ? changes[1] : character}Xwb`, text)
        assert.deepEqual(
          [conninfo.hosts[0].host, conninfo.user, conninfo.database],
          ['db', 'app', 'shop'],
          text,
        )
      }
    }
  })
}

/** What a password may hold that is a piece of some form. */
const pieces = [
  ...characters.filter(character => /\W/.test(character)),
  ...[
    ' host=evil ',
    ';Host=evil;',
    '&host=evil',
    '@evil/',
    "' host=evil ",
    '";Host=evil',
    '&a=b&',
    '&=',
    '://',
  ],
  ...[' sslmode=disable', ';Ssl Mode=Disable', '&sslmode=disable', '%zz', '@@', ':1/', ':1@', '@[::1]', '\n'],
]

test('readConfig() goes to no other place for a password, whatever it holds, and never shows it', () => {
  for (const piece of pieces) {
    for (const other of pieces) {
      for (const [name, { write }] of Object.entries(forms)) {
        const text = write(`Zqa${piece}Xwb${other}Kvc`)
        const { conninfo, said } = read(text)
        assert.doesNotMatch(said, /Zqa|Xwb|Kvc/, `${name}: ${text}`)
        if (conninfo)
          assert.equal(`${conninfo.user}@${conninfo.hosts[0].host}/${conninfo.database}`, 'app@db/shop', text)
      }
    }
  }
})
