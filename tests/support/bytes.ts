// An HTTP client that sends any bytes, and an honest prober that asks beside it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { ask } from './server.ts'

/** One connection, on which a test writes what it likes. */
export interface Raw {
  readonly socket: net.Socket
  /** Resolves when the connection has ended, by a reset as well. */
  readonly closed: Promise<void>
  /** All that the server has sent, one character a byte. */
  received(): string
}

/** Connects to a port of this machine. */
export async function connectRaw(port: number): Promise<Raw> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let received = ''
  socket.on('error', () => {}).setEncoding('latin1')
  socket.on('data', chunk => {
    received += chunk
  })
  socket.once('end', () => socket.end())
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  await once(socket, 'connect')
  return { socket, closed, received: () => received }
}

/** The statuses of all answers in the text. */
export function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1]))
}

/** Asks as a load balancer does, on a new connection. Throws unless a healthy answer comes within `timeoutMs`. */
export async function askHonestly(origin: string, timeoutMs: number): Promise<void> {
  const { status, body, sentAt, answeredAt } = await ask(`${origin}/health`)
  assert.deepEqual([status, body], [200, '{"status": "healthy","database": "connected"}'])
  assert.ok(answeredAt - sentAt < timeoutMs, `${answeredAt - sentAt} ms`)
}
