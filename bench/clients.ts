// Thousands of clients that keep their connections and ask in a fixed rhythm, however long an answer takes.
import { connect, type Socket } from 'node:net'

export interface Asked {
  readonly status: number
  readonly sentAt: number
  readonly tookMs: number
}

export interface Clients {
  /** How many connections stand. */
  readonly connected: number
  /** Connections that failed or were cut. */
  readonly errors: number
  /** Takes the answers since the last time; those who still wait count when they are answered. */
  take(): readonly Asked[]
  /** Stops asking; resolves when all have their answers, or after `patienceMs`; gives how many have none. */
  quiet(patienceMs: number): Promise<number>
  close(): void
}

const request = 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n'

/** Connects `count` clients at once; each asks as soon as it can, spread over `periodMs`, then once a period. */
export function openClients(port: number, count: number, periodMs: number): Clients {
  let answers: Asked[] = []
  let connected = 0
  let errors = 0
  let waiting = 0
  let asking = true
  let closing = false
  const sockets = new Set<Socket>()
  for (let index = 0; index < count; index += 1) open((periodMs * index) / count)
  return {
    get connected() {
      return connected
    },
    get errors() {
      return errors
    },
    take() {
      const taken = answers
      answers = []
      return taken
    },
    async quiet(patienceMs) {
      asking = false
      for (const end = performance.now() + patienceMs; waiting > 0 && performance.now() < end; ) {
        await new Promise(resolve => setTimeout(resolve, 10))
      }
      return waiting
    },
    close() {
      asking = false
      closing = true
      for (const socket of sockets) socket.destroy()
    },
  }

  function open(offsetMs: number) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    sockets.add(socket)
    let sentAt = 0
    let due = performance.now() + offsetMs
    let text = ''
    let pending = false
    socket.setEncoding('latin1')
    socket.on('connect', () => {
      connected += 1
      plan()
    })
    socket.on('data', chunk => {
      text += chunk
      const head = text.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1])
      if (head < 0 || text.length < head + 4 + length) return
      answers.push({ status: Number(text.slice(9, 12)), sentAt, tookMs: performance.now() - sentAt })
      text = ''
      pending = false
      waiting -= 1
      plan()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (!closing) errors += 1
      if (pending) waiting -= 1
    })

    function plan() {
      const now = performance.now()
      // Whoever is late leaves turns out, and stays in step.
      while (due < now) due += periodMs
      setTimeout(send, due - now)
    }

    function send() {
      if (!asking || socket.destroyed) return
      // A timer may come up to a millisecond early: the turn is taken, not to be had again.
      due += periodMs
      sentAt = performance.now()
      pending = true
      waiting += 1
      socket.write(request)
    }
  }
}
