// A name server that answers, denies or stays silent, and a way to run a program that asks only this one.
import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { findTool, isRequired } from './tools.ts'

/** resolv.conf knows only port 53, so this is a loopback address on which no other server uses it. */
const host = `127.0.0.${100 + (process.pid % 100)}`

export type Resolver = NonNullable<Awaited<ReturnType<typeof openResolver>>>

/** Opens a name server for IPv4 addresses; undefined, and the test skipped, where mount namespaces are not allowed. */
export async function openResolver(t: TestContext) {
  const unshare = findTool(t, 'unshare')
  if (unshare === undefined) return undefined
  const { status, stderr } = spawnSync(unshare, ['--mount', 'true'], { encoding: 'utf8' })
  if (status !== 0) {
    if (isRequired('tools') && process.getuid?.() === 0) throw new Error(stderr)
    t.skip(`a resolv.conf of its own needs root: ${stderr.trim()}`)
    return undefined
  }
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-names-'))
  const socket = createSocket('udp4')
  socket.bind(53, host)
  await once(socket, 'listening')
  let answers: ReadonlyMap<string, string> | 'silence' = new Map()
  const asked: number[] = []
  socket.on('message', (query, { port, address }) => {
    if (typeOf(query) === aRecord) asked.push(query.readUInt16BE(0))
    if (answers !== 'silence') socket.send(answerTo(query, answers), port, address)
  })
  writeFileSync(join(folder, 'resolv.conf'), `nameserver ${host}\n`)
  writeFileSync(join(folder, 'nsswitch.conf'), 'hosts: files dns\n')
  const files = ['resolv.conf', 'nsswitch.conf'].map(
    name => `mount --bind ${join(folder, name)} $(readlink -f /etc/${name})`,
  )
  return {
    /** A command that runs what follows it with only this name server. */
    through: [unshare, '--mount', 'sh', '-c', `${files.join(' && ')} && exec "$@"`, 'sh'],
    /** From now on the server knows these names and addresses, or does not answer at all. */
    answer(next: Readonly<Record<string, string>> | 'silence') {
      answers = next === 'silence' ? next : new Map(Object.entries(next))
    },
    /** The ids of all questions for IPv4 addresses so far; a repeated question has the same id. */
    asked,
    async close() {
      socket.close()
      await once(socket, 'close')
      rmSync(folder, { recursive: true })
    },
  }
}

const aRecord = 1

/** A name ends with an empty label; its type and class follow, four bytes. */
function typeOf(query: Buffer): number {
  return query.readUInt16BE(query.indexOf(0, 12) + 1)
}

/** The question again, with an A record where there is one; no AAAA; NXDOMAIN for other names. */
function answerTo(query: Buffer, names: ReadonlyMap<string, string>): Buffer {
  const end = query.indexOf(0, 12)
  const question = query.subarray(12, end + 5)
  // Each label has its length before it: a control character, where the next name has a dot.
  const name = query.toString('latin1', 13, end).replace(/\p{Cc}/gu, '.')
  const address = names.get(name)
  const found = address !== undefined && typeOf(query) === aRecord
  const head = Buffer.from(query.subarray(0, 12))
  head.writeUInt16BE(address === undefined ? 0x8183 : 0x8180, 2)
  for (const [index, count] of [1, found ? 1 : 0, 0, 0].entries()) head.writeUInt16BE(count, 4 + index * 2)
  if (!found) return Buffer.concat([head, question])
  // The name is that of the question; A, IN, no time to live, four bytes.
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)])
  return Buffer.concat([head, question, record])
}
