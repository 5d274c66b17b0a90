// The judge of the fault suite: what every fault must leave true of the whole program, said once.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Reason, sentences } from '../../lib/health/verdict.ts'
import { type Answer, ask, program, type Running, type Start, startServer } from './server.ts'

/** How much later than promised an answer may be on a machine that is busy with tests, milliseconds. */
export const slackMs = 400
/** DESIGN: attempts to connect are at least this far apart, milliseconds. */
const attemptSpacingMs = 100

export type Said = 'healthy' | Reason

/** What callers do while a fault lasts. */
export interface Caller {
  ask(): Promise<Answer>
  /** Resolves when the statement of a request that was sent before is on its way to the database. */
  underWay(): Promise<void>
}

export interface Fault {
  /** What callers may be told while it lasts: one word, unless chance has a say. */
  readonly says: Said | readonly Said[]
  readonly begin: () => unknown
  /** Resolves when the fault is gone: the very next request must be answered 200. */
  readonly end: () => unknown
  /** Who asks while it lasts; three at once and then one more, unless said otherwise. */
  readonly during?: (caller: Caller) => Promise<readonly Answer[]>
  /** How much longer than the deadline an answer may take because we held the program, milliseconds. */
  readonly heldMs?: number
}

/** What the program holds, and held since the last time it was asked. */
export interface Witness {
  /** Connections that it began. */
  readonly attempts: number
  /** The most of them that were open at the same time. */
  readonly most: number
  /** Bytes on the heap and beside it; after a collection when the program was started with --expose-gc. */
  readonly memory: number
}

export interface Judged {
  readonly server: Running
  /** Puts the program, which must be healthy, through a fault. */
  judge(fault: Fault): Promise<void>
  witness(): Promise<Witness>
  close(): Promise<void>
}

/** Counts the connections that the program opens, from inside: it sees those that last a millisecond, too. */
const witnessed = `
  import { subscribe } from 'node:diagnostics_channel'
  let sockets = []
  let attempts = 0
  let most = 0
  const open = () => (sockets = sockets.filter(socket => !socket.destroyed)).length
  subscribe('net.client.socket', ({ socket }) => {
    attempts += 1
    sockets.push(socket)
    most = Math.max(most, open())
  })
  process.on('message', () => {
    globalThis.gc?.()
    const { heapUsed, external } = process.memoryUsage()
    process.send({ witness: { attempts, most, memory: heapUsed + external } })
    attempts = 0
    most = open()
  })
  process.channel.unref()
`

export interface JudgedStart extends Omit<Start, 'ipc'> {
  /** A program of ours that is loaded before the server. */
  readonly preload?: string
  readonly nodeOptions?: readonly string[]
  /** More that must never be said. */
  readonly secrets?: readonly string[]
}

/** Starts the program and a judge of it. `DATABASE_URL` must be among the settings, or its secrets be given. */
export async function startJudged(
  settings: Readonly<Record<string, string>>,
  { preload = '', nodeOptions = [], through = [], secrets: more = [] }: JudgedStart = {},
): Promise<Judged> {
  const timeoutMs = Number(settings['HEALTH_TIMEOUT_MS'] ?? 2_000)
  const secrets = [...secretsOf(settings['DATABASE_URL']), ...more]
  const modules = [witnessed, preload].map(code => `data:text/javascript,${encodeURIComponent(code)}`)
  const command = [...nodeOptions, ...modules.flatMap(url => ['--import', url]), ...program]
  const server = await startServer(settings, command, { through, ipc: true })
  return { server, judge, witness, close }

  async function close() {
    await server.stop('SIGKILL')
  }

  async function judge({ says, begin, end, during = crowd, heldMs = 0 }: Fault) {
    const may = typeof says === 'string' ? [says] : says
    judgeAnswer(await request(), ['healthy'], 0)
    await witness()
    const from = server.output().length
    const beganAt = performance.now()

    try {
      await begin()
      const answers = await during({ ask: request, underWay })
      assert.ok(answers.length > 0)
      for (const answer of answers) judgeAnswer(answer, may, heldMs)
    } finally {
      await end()
    }
    // The first to ask after it.
    judgeAnswer(await request(), ['healthy'], 0)

    const { attempts, most } = await witness()
    assert.ok(most <= 1, `one connection at most, not ${most}`)
    const paced = 2 + (performance.now() - beganAt) / attemptSpacingMs
    assert.ok(attempts <= paced, `${attempts} attempts to connect, ${paced} at most`)
    assert.equal((await ask(`${server.origin}/livez`)).status, 200)
    assert.equal(server.child.exitCode, null)
    judgeLog(server.output().slice(from), secrets)
  }

  function request() {
    return ask(`${server.origin}/health`)
  }

  async function crowd({ ask }: Caller) {
    return [...(await Promise.all([ask(), ask(), ask()])), await ask()]
  }

  /** The event loop turned several times since that request was read: it is with the database. */
  async function underWay() {
    for (let turn = 0; turn < 3; turn += 1) await ask(`${server.origin}/livez`)
  }

  async function witness(): Promise<Witness> {
    server.child.send('witness?')
    for (;;) {
      // tsx sends messages of its own.
      const [{ witness }] = await once(server.child, 'message')
      if (witness) return witness
    }
  }

  function judgeAnswer(
    { status, headers, body, sentAt, answeredAt }: Answer,
    may: readonly Said[],
    held: number,
  ) {
    const said = may.find(word => bodyOf(word) === body)
    assert.ok(said, `${body} is none of ${may.join(', ')}`)
    JSON.parse(body)
    assert.equal(status, said === 'healthy' ? 200 : 503)

    const tookMs = answeredAt - sentAt
    const processMs = Number(headers['x-process-time-ms'])
    assert.ok(tookMs <= timeoutMs + slackMs + held, `${said} after ${tookMs} ms`)
    assert.match(String(headers['x-process-time-ms']), /^\d+$/)
    assert.ok(processMs <= Math.ceil(tookMs), `x-process-time-ms: ${processMs} of ${tookMs}`)
    assert.match(String(headers['server-timing']), /^wait;dur=[\d.]+, .*total;dur=[\d.]+$/)
    assert.equal(headers['content-type'], 'application/json')
    assert.equal(headers['content-length'], String(Buffer.byteLength(body)))
    assert.equal(headers['transfer-encoding'], undefined)
    assert.equal(headers['cache-control'], 'no-store')
    judgeSecrets(body + JSON.stringify(headers), secrets)
  }
}

function bodyOf(said: Said): string {
  if (said === 'healthy') return '{"status": "healthy","database": "connected"}'
  return `{"status": "unhealthy","error": "${sentences[said]}"}`
}

/** Password, role and host. The masked URL in the line at the start is the one place for the last two. */
function secretsOf(url: string | undefined): string[] {
  if (url === undefined) return []
  const { username, password, hostname, pathname } = new URL(url)
  return [username, password, hostname, pathname.slice(1)].map(decodeURIComponent).filter(text => text !== '')
}

/** What the program has written since the fault began: events, and nothing that a driver printed. */
function judgeLog(text: string, secrets: readonly string[]) {
  const lines = text.split('\n').slice(0, -1)
  const events = lines.map(line => JSON.parse(line).event)
  for (const event of ['unhandled_rejection', 'uncaught_exception', 'request_failed']) {
    assert.ok(!events.includes(event), text)
  }
  judgeSecrets(text, secrets)
}

function judgeSecrets(text: string, secrets: readonly string[]) {
  for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} is said: ${text}`)
}
