// Responses are spread over turns of the event loop.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createTurns } from '../../../lib/http/turns.ts'
import { held, serve } from '../../support/http.ts'

test('createTurns() runs so many tasks per turn, in their order, and the first ones immediately', async () => {
  const run = createTurns(3)
  const ran: number[] = []
  const counts: number[] = []
  for (let task = 0; task < 7; task += 1) run(() => ran.push(task))
  counts.push(ran.length)
  // A task that arrives while others wait must not overtake them.
  run(() => ran.push(7))
  for (let turn = 0; turn < 3; turn += 1) {
    await nextTurn()
    counts.push(ran.length)
  }
  assert.deepEqual(counts, [3, 6, 8, 8])
  assert.deepEqual(ran, [0, 1, 2, 3, 4, 5, 6, 7])
  for (let task = 8; task < 12; task += 1) run(() => ran.push(task))
  assert.equal(ran.length, 11, 'a new turn has a new count')
})

test('createHttp() sends at most 128 responses per turn: libuv accepts one connection per turn', async t => {
  const { check, answer } = held()
  let sent = 0
  const { connect, inFlight } = await serve(t, { check, onAnswer: () => (sent += 1) })
  for (let client = 0; client < 20; client += 1) {
    const { socket } = await connect()
    socket.write('GET /health HTTP/1.1\r\n\r\n'.repeat(10))
  }
  while (inFlight() < 200) await nextTurn()
  answer({ by: 'check', result: 'healthy' })
  const counts: number[] = []
  for (let before = 0; sent < 200; before = sent) {
    await nextTurn()
    counts.push(sent - before)
  }
  assert.ok(Math.max(...counts) <= 128, counts.join())
})
