// The host name of the database: unknown, unanswered, moved. The program asks the test's own name server.
import assert from 'node:assert/strict'
import { after, describe, type TestContext, test } from 'node:test'
import { type Judged, startJudged } from '../support/judge.ts'
import { honest, openPeer, type Peer } from '../support/peer.ts'
import { openResolver, type Resolver } from '../support/resolver.ts'
import type { Answer } from '../support/server.ts'

const name = 'db.pg-health.test'

describe('the host name of the database', () => {
  let resolver: Resolver | undefined
  let peer: Peer
  let judged: Judged
  after(async () => {
    await judged?.close()
    await peer?.close()
    await resolver?.close()
  })

  /** Starts what all tests share. Undefined, and the test is skipped, where the program can't have its own resolver. */
  async function find(t: TestContext): Promise<Resolver | undefined> {
    if (resolver) return resolver
    resolver = await openResolver(t)
    if (!resolver) return undefined
    resolver.answer({ [name]: '127.0.0.1' })
    peer = await openPeer(honest)
    judged = await startJudged(
      { DATABASE_URL: `postgres://watcher:geheim@${name}:${peer.port}/ledger?sslmode=disable` },
      { through: resolver.through },
    )
    return resolver
  }

  test('is unknown: unreachable', async t => {
    const resolver = await find(t)
    if (!resolver) return
    await judged.judge({
      says: 'unreachable',
      begin() {
        resolver.answer({})
        peer.play(honest)
      },
      end: () => resolver.answer({ [name]: '127.0.0.1' }),
    })
  })

  // glibc itself gives up after five seconds, and the next check asks again.
  for (const checks of [1, 3]) {
    test(`gets no answer during ${checks === 1 ? 'one check' : 'several checks'}: connect_timeout, one lookup at a time`, async t => {
      const resolver = await find(t)
      if (!resolver) return
      const from = resolver.asked.length
      await judged.judge({
        says: ['connect_timeout', 'unreachable'],
        begin() {
          resolver.answer('silence')
          peer.play(honest)
        },
        async during({ ask }) {
          const answers: Answer[] = []
          for (let check = 0; check < checks; check += 1) {
            answers.push(...(await Promise.all([ask(), ask(), ask()])))
          }
          return answers
        },
        end: () => resolver.answer({ [name]: '127.0.0.1' }),
      })
      const numbers = resolver.asked.slice(from)
      assert.ok(numbers.length > 0)
      // With two lookups at a time, the first would be repeated after the second.
      const changes = numbers.filter((number, index) => index === 0 || number !== numbers[index - 1])
      assert.equal(changes.length, new Set(numbers).size, `${numbers}`)
    })
  }

  test('moves to another address: the next session connects there', async t => {
    const resolver = await find(t)
    if (!resolver) return
    const other = await openPeer(honest, { host: '127.0.0.2', port: peer.port })
    t.after(() => other.close())
    await judged.judge({
      says: 'healthy',
      begin() {
        resolver.answer({ [name]: '127.0.0.2' })
        peer.play(honest)
      },
      end() {},
    })
    assert.equal(other.connections, 1)
    resolver.answer({ [name]: '127.0.0.1' })
  })
})
