// Passwords that SASLprep changes or refuses: PostgreSQL and psql say what is right.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import pg from 'pg'
import { saslprep } from '../../lib/postgres/saslprep.ts'
import { administer } from '../support/administer.ts'
import { check, conninfoOf } from '../support/database.ts'
import { openPostgres, type Postgres } from '../support/postgres.ts'
import { createRandom } from '../support/random.ts'
import { findTool } from '../support/tools.ts'

/** What a role's password was set to, and what its owner types. */
const passwords: [set: string, typed: string][] = [
  ['a\u00a0b', 'a\u00a0b'],
  ['a\u00a0b', 'a b'],
  ['a b', 'a\u00a0b'],
  ['ﬁn\u00adal ª', 'ﬁn\u00adal ª'],
  ['ﬁn\u00adal ª', 'final a'],
  ['e\u0301', 'é'],
  ['ª🦊', 'ª🦊'],
  ['ª🦊', 'a🦊'],
  ['ª\u0007', 'ª\u0007'],
  ['\u00ad', '\u00ad'],
  ['ا\u00a0ب', 'ا ب'],
  ['اªب', 'اªب'],
  ['اªب', 'اaب'],
  ['plain', 'plain'],
  ['plain', 'wrong'],
]

describe('a password beyond ASCII', () => {
  let server: Postgres

  before(async () => {
    server = await openPostgres({
      files: {
        'pg_hba.conf': `local all all trust
host all postgres all trust
host all hashed all md5
host clear all all password
host all all all scram-sha-256
`,
      },
    })
    await administer(server.url, 'create database clear')
  })
  after(() => server.close())

  /** Makes the role `user`, with a password that is hashed as `encryption` says. */
  async function setPassword(user: string, password: string, encryption = 'scram-sha-256') {
    await administer(
      server.url,
      `drop role if exists ${user}`,
      `set password_encryption = '${encryption}'`,
      `create role ${user} login password ${pg.escapeLiteral(password)}`,
    )
  }

  test('lets us in with SCRAM where it lets psql in, and nowhere else', async t => {
    const psql = findTool(t, 'psql')
    if (psql === undefined) return
    const results: [boolean, boolean][] = []
    for (const [set, typed] of passwords) {
      await setPassword('app', set)
      const entered: boolean = await promisify(execFile)(
        psql,
        ['-h', '127.0.0.1', '-p', `${server.port}`, '-U', 'app', '-c', 'select 1', 'postgres'],
        { env: { PGPASSWORD: typed, LC_ALL: 'C.UTF-8', PGCLIENTENCODING: 'UTF8' } },
      ).then(
        () => true,
        () => false,
      )
      const found = await check(t, conninfoOf(server.port, { user: 'app', password: typed }))
      assert.equal(found, entered ? 'healthy' : 'auth_failed 28P01', JSON.stringify([set, typed]))
      results.push([entered, found === 'healthy'])
    }
    assert.equal(results.filter(([entered]) => entered).length, 12)
  })

  test('goes unchanged where the server asks for MD5 or clear text', async t => {
    await setPassword('hashed', 'a\u00a0ª', 'md5')
    assert.equal(await check(t, conninfoOf(server.port, { user: 'hashed', password: 'a\u00a0ª' })), 'healthy')
    assert.equal(
      await check(t, conninfoOf(server.port, { user: 'hashed', password: 'a a' })),
      'auth_failed 28P01',
    )
    await setPassword('cleartext', 'a\u00a0ª', 'md5')
    assert.equal(
      await check(t, conninfoOf(server.port, { user: 'cleartext', password: 'a\u00a0ª', database: 'clear' })),
      'healthy',
    )
  })

  test('is prepared as the server prepares it, whatever it is made of', async () => {
    const characters = [
      'a',
      ' ',
      '1',
      'ß',
      'ﬁ',
      'ª',
      '\u00a0',
      '\u200b',
      '\u00ad',
      '\ufe0f',
      'e\u0301',
      'ا',
      'ب',
      '٣',
    ]
    const rare = ['\u0007', '🦊', '中', '\u2028', '\ue000', '\u0340', 'Ⅸ', '\u0590', '𝒜', '\u{e0001}']
    const random = createRandom(1)
    const client = new pg.Client(server.url)
    await client.connect()
    try {
      await client.query('set scram_iterations = 1; create role prepared')
      for (let round = 0; round < 1_000; round += 1) {
        const length = 1 + random.below(5)
        const from = round % 2 === 0 ? characters : [...characters, ...rare]
        const password = Array.from({ length }, () => from[random.below(from.length)]).join('')
        await client.query(`alter role prepared password ${pg.escapeLiteral(password)}`)
        const { rows } = await client.query("select rolpassword from pg_authid where rolname = 'prepared'")
        assert.equal(storedKeyOf(saslprep(password), rows[0].rolpassword), 'same', JSON.stringify(password))
      }
    } finally {
      await client.end()
    }
  })
})

/** Whether the secret SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey was made of `password`. */
function storedKeyOf(password: string, secret: string): 'same' | 'other' {
  const [, iterations, salt = '', storedKey] = /^SCRAM-SHA-256\$(\d+):(.+)\$(.+):/.exec(secret) ?? []
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256')
  const clientKey = createHmac('sha256', salted).update('Client Key').digest()
  return createHash('sha256').update(clientKey).digest('base64') === storedKey ? 'same' : 'other'
}
