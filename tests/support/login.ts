// The server's side of PostgreSQL's login, and mutations of it.
import { createHmac, pbkdf2Sync } from 'node:crypto'
import { authentication, fatal, message, ready, row, type Scenario } from './peer.ts'
import type { Random } from './random.ts'

/** The messages that a server sends after the start-up message, and after each later message of the client. */
interface Login {
  readonly startup: readonly Buffer[]
  readonly statement: (index: number, sent: Buffer) => readonly Buffer[]
}

/** What a server says when it has let the client in. */
const greeting = [
  authentication(0),
  message('S', Buffer.from('TimeZone\0UTC\0')),
  message('K', Buffer.alloc(8, 1)),
  ready,
]
const answer = [row('1')]

/** A server that lets in whoever knows the password. */
function createLogins(password: string): readonly (() => Login)[] {
  const asksOnce = (startup: Buffer) => () => ({
    startup: [startup],
    statement: (index: number) => (index === 0 ? greeting : answer),
  })
  return [
    () => createScram(password),
    asksOnce(authentication(5, 'salt')),
    asksOnce(authentication(3)),
    () => ({ startup: greeting, statement: () => answer }),
  ]
}

function createScram(password: string): Login {
  const salt = Buffer.from('sixteen bytes it')
  let asked = ''
  let offered = ''
  return {
    startup: [authentication(10, 'SCRAM-SHA-256\0\0')],
    statement(index, sent) {
      if (index > 1) return answer
      if (index === 0) {
        asked = sent.toString('latin1').replace(/^.*n=\*/s, 'n=*')
        offered = `${asked.slice('n=*,'.length)}server,s=${salt.toString('base64')},i=2`
        return [authentication(11, offered)]
      }
      const spoken = `${asked},${offered},c=biws,${offered.replace(/,.*/s, '')}`
      const key = hmac(pbkdf2Sync(password, salt, 2, 32, 'sha256'), 'Server Key')
      return [authentication(12, `v=${hmac(key, spoken).toString('base64')}`), ...greeting]
    },
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** A peer whose every connection is another login, with mutations in one of its answers. */
export function mutatedLogins(random: Random, password: string): Scenario {
  const logins = createLogins(password)
  let played: Scenario
  return {
    // A peer reads both once for each connection, in this order.
    get startup() {
      played = mutatedLogin(random, random.pick(logins)())
      return played.startup
    },
    get statement() {
      return played.statement
    },
  }
}

function mutatedLogin(random: Random, { startup, statement }: Login): Scenario {
  const wrong = random.below(4)
  const write = (place: number, messages: readonly Buffer[]) =>
    Buffer.concat(place === wrong ? mutate(random, messages) : messages)
  return {
    startup: write(0, startup),
    statement: (index, sent) => write(index + 1, statement(index, sent)),
  }
}

/** One to three mutations. Half of the time the server ends the connection after them. */
function mutate(random: Random, messages: readonly Buffer[]): Buffer[] {
  let mutated = [...messages]
  for (let left = 1 + random.below(3); left > 0; left -= 1) {
    const at = random.below(mutated.length)
    const before = mutated[at] ?? Buffer.alloc(0)
    mutated = mutated.toSpliced(at, 1, ...random.pick(mutations)(before, random))
  }
  return random.below(2) === 0 ? mutated : [...mutated, fatal('28000', 'no')]
}

const kinds = [0, 2, 3, 5, 7, 9, 10, 11, 12, 255]
const fields = [/r=[^,]*/, /s=[^,]*/, /i=[^,]*/, /v=.*/, /,/, /=/, /SCRAM/, /\0/]
const rubbish = ['', 'r=', 's=%%%', 'i=0', 'i=-1', 'i=2147483647', 'v=', ',', 'm=x,', 'SCRAM-SHA-1', '\0']
const texts = [
  '',
  'salt',
  'sa',
  'SCRAM-SHA-256\0\0',
  'r=x,s=eA==,i=1',
  'v=x',
  `r=${'x'.repeat(2_000)},s=eA==,i=1`,
]

/** Each makes some messages of one. */
const mutations: readonly ((sent: Buffer, random: Random) => readonly Buffer[])[] = [
  // Without the message, or with it twice, or before others.
  () => [],
  sent => [sent, sent],
  (sent, random) => [sent, ...random.pick([[ready], greeting, answer])],
  // Its end is missing, with the length that it had, or with the new one.
  (sent, random) => [sent.subarray(0, random.below(sent.length + 1))],
  (sent, random) => [rebuilt(sent, bodyOf(sent).subarray(0, random.below(sent.length)))],
  // More behind it.
  (sent, random) => [rebuilt(sent, Buffer.concat([bodyOf(sent), bytes(random)]))],
  // A byte is another one, or the length, or the kind of the login's step.
  (sent, random) => [overwritten(sent, random.below(sent.length), [random.below(256)])],
  (sent, random) => [
    overwritten(
      sent,
      1,
      random.pick([
        [0, 0, 0, 3],
        [0, 0, 0, 8],
        [127, 255, 255, 255],
      ]),
    ),
  ],
  (sent, random) => [overwritten(sent, 8, [random.pick(kinds)])],
  // A field of SCRAM is another one.
  (sent, random) => {
    const text = bodyOf(sent).toString('latin1').replace(random.pick(fields), random.pick(rubbish))
    return [rebuilt(sent, Buffer.from(text, 'latin1'))]
  },
  // Another message comes first.
  (sent, random) => [authentication(random.pick(kinds), random.pick(texts)), sent],
  (sent, random) => [message(random.pick([...'RSKZTDCENAvGHWcd123nstIV']), bytes(random)), sent],
]

const bodyOf = (sent: Buffer) => sent.subarray(5)
const bytes = (random: Random) =>
  Buffer.from(Array.from({ length: random.below(30) }, () => random.below(256)))

/** The message with another body, and the length of that. */
function rebuilt(sent: Buffer, body: Buffer): Buffer {
  return message(sent.toString('latin1', 0, 1), body)
}

function overwritten(sent: Buffer, at: number, by: readonly number[]): Buffer {
  const copy = Buffer.from(sent)
  copy.set(by.slice(0, Math.max(0, copy.length - at)), Math.min(at, copy.length))
  return copy
}
