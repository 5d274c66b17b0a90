// The judge of the fault tests: what must be true of the running program during and after every fault.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Reason, sentences } from '../../lib/health/verdict.ts'
import { type Answer, ask, program, type Running, type Start, startServer } from './server.ts'

/** How much later than promised an answer may be on a machine that is busy with tests (milliseconds). */
export const slackMs = 400
/** Attempts to connect are at least this far apart (milliseconds). */
const attemptSpacingMs = 100

export type Said = 'healthy' | Reason

/** What a client can do while a fault lasts. */
export interface Caller {
  ask(): Promise<Answer>
  /** Resolves when the query of the last request is on its way to the database. */
  underWay(): Promise<void>
}

export interface Fault {
  /** What clients may read while it lasts: one word, unless it depends on chance. */
  readonly says: Said | readonly Said[]
  readonly begin: () => unknown
  /** Resolves when the fault is gone: the very next request must be answered 200. */
  readonly end: () => unknown
  /** The requests while it lasts; by default three at the same time, and then one more. */
  readonly during?: (caller: Caller) => Promise<readonly Answer[]>
  /** How much later an answer may be because the test has stopped the program (milliseconds). */
  readonly heldMs?: number
}

/** What the program uses now, and has used since the last question. */
export interface Witness {
  /** Connections that it has begun. */
  readonly attempts: number
  /** The most of them that were open at the same time. */
  readonly most: number
  /** Bytes, heap and external; after a garbage collection when the program runs with --expose-gc. */
  readonly memory: number
}

export interface Judged {
  readonly server: Running
  /** Puts the healthy program through a fault. Throws when a promise is broken. */
  judge(fault: Fault): Promise<void>
  witness(): Promise<Witness>
  close(): Promise<void>
}

/** Counts the connections that the program opens, from inside the process: even those that last a millisecond. */
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
  /** Code that is loaded before the server. */
  readonly preload?: string
  readonly nodeOptions?: readonly string[]
  /** More texts that must never be written. */
  readonly secrets?: readonly string[]
}

/** Starts the program and a judge of it. Needs `DATABASE_URL` among the settings, or its secrets in `secrets`. */
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
    // The first request after the fault.
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

  /** After several turns of the event loop the request has been read and its query sent. */
  async function underWay() {
    for (let turn = 0; turn < 3; turn += 1) await ask(`${server.origin}/livez`)
  }

  async function witness(): Promise<Witness> {
    server.child.send('witness?')
    for (;;) {
      // Other modules may send messages, too.
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

/** Password, role, host and database. Only the masked URL in the first log line may show the last three. */
function secretsOf(url: string | undefined): string[] {
  if (url === undefined) return []
  const { username, password, hostname, pathname } = new URL(url)
  return [username, password, hostname, pathname.slice(1)].map(decodeURIComponent).filter(text => text !== '')
}

/** Checks what the program has written since the fault began: only log lines, and no secret. */
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
