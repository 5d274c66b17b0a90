// What of a server's message may be logged: no name of a host, user or database, and nothing in quotes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scrubbed } from '../../../lib/monitor/scrub.ts'
import { createRandom } from '../../support/random.ts'

const examples: [message: string, line: string | undefined][] = [
  [
    'remaining connection slots are reserved for roles with the SUPERUSER attribute',
    'remaining connection slots are reserved for roles with the …',
  ],
  [
    'database "shop" is not currently accepting connections',
    'database … is not currently accepting connections',
  ],
  ['no such database: all my users', 'no such database: …'],
  ['unsupported startup parameter: search_path', 'unsupported startup parameter: …'],
  ['(ENOTFOUND) tenant/user app.abcdef not found in the pool', '… not found in the pool'],
  [
    "could not connect to server at 'db.internal' (10.0.0.1), port 5432",
    'could not connect to server at … port …',
  ],
  [
    'Check the credentials for this role and try again.',
    'Check the credentials for this role and try again.',
  ],
  ["the server's pool is full, try again", 'the … pool is full, try again'],
  ['die Datenbank »shop« existiert nicht', undefined],
  ['\u001b[31mconnection\u0007 to the pool\nwas lost', '… to the pool was lost'],
  ['', undefined],
]
for (const [message, line] of examples) {
  test(`scrubbed() gives ${line ?? 'nothing'} for ${JSON.stringify(message)}`, () => {
    assert.equal(scrubbed(message), line)
  })
}

/** Where servers put a name: in quotes, behind a word for it, or bare. */
const places: ((name: string) => string)[] = [
  name => `password authentication failed for user "${name}" on this server`,
  name => `the database \`${name}\` does not exist on this server`,
  name => `access denied for '${name}' on this server`,
  name => `access to “${name}” or ‘${name}’ or «${name}» is not allowed on this server`,
  name => `connection to server failed: user=${name}, database=${name}, host=${name}, port=5432`,
  name => `login failed: db=${name} user=${name}`,
  name => `connection to server failed (host: ${name}; user: ${name}; database: ${name})`,
]
const barePlaces: ((name: string) => string)[] = [
  name => `could not translate host name ${name} to address`,
  name => `This proxy has no credentials for the role ${name}. Check the credentials for this role.`,
  name => `tenant/user ${name} not found in the pool`,
  name => `too many connections for (${name}), try again in a while`,
]

/** Names of all kinds: those in quotes may be anything, even words that scrubbed() knows. */
const names = [
  'alice',
  'app_rw',
  'shop-prod',
  'db.internal.example.com',
  '10.1.2.3',
  '[fe80::1%eth0]',
  'a@b.example',
  '::1',
]
const quotedNames = [
  ...names,
  'too many connections',
  'the "server" is down',
  "it's the pool",
  'änne',
  'x y, z',
  'a; b) c',
]

test('scrubbed() removes names, wherever they stand', () => {
  for (const name of names) {
    for (const place of [...places, ...barePlaces]) {
      const line = scrubbed(place(name)) ?? ''
      assert.ok(!line.includes(name), line)
      for (const part of name.split(/[.@:_[\]%-]+/).filter(part => part.length > 1)) {
        assert.doesNotMatch(line, new RegExp(`\\b${part}\\b`), line)
      }
    }
  }
})

test('scrubbed() gives the same line whatever is in quotes, known words and quotes too', () => {
  for (const place of places.slice(0, 3)) {
    const line = scrubbed(place('x'))
    assert.ok(line)
    for (const name of quotedNames) assert.equal(scrubbed(place(name)), line, name)
  }
})

test('scrubbed() removes what follows a quote that is not closed', () => {
  assert.equal(scrubbed('no access to the pool "server'), 'no access to the pool …')
  assert.equal(scrubbed('no access to "the" pool "server'), 'no access to …')
})

test('scrubbed() gives nothing but known words and …, whatever it is given', () => {
  const random = createRandom(7)
  const parts = [
    ...names,
    'connection',
    'failed',
    'server',
    ' ',
    ' ',
    '"',
    "'",
    '\n',
    '\u001b[0m',
    'É',
    '😀',
    '=',
    ':',
    '(',
    '…',
    '%s',
  ]
  for (let round = 0; round < 5_000; round += 1) {
    const message = Array.from({ length: random.below(12) }, () => random.pick(parts)).join('')
    const line = scrubbed(message)
    if (line === undefined) continue
    assert.match(
      line,
      /^(?:[([]?(?:connection|failed|server)[.,:;!?)\]]?|…)(?: (?:[([]?(?:connection|failed|server)[.,:;!?)\]]?|…))*$/,
    )
  }
})

test('scrubbed() reads only the beginning of a long message, and quickly', () => {
  const line = scrubbed('the server '.repeat(2_000)) ?? ''
  assert.ok(line.length <= 300)
  for (const text of ['"', "'", 'user=', '(']) scrubbed(text.repeat(16_000))
})
