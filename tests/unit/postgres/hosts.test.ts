// The search for a host that fits: what each host is sent, how long it gets, and which ones are tried again.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { Conninfo } from '../../../lib/conninfo/conninfo.ts'
import type { Role } from '../../../lib/health/verdict.ts'
import { createHosts } from '../../../lib/postgres/hosts.ts'
import { createLookup } from '../../../lib/postgres/lookup.ts'
import { reasonOf } from '../../../lib/postgres/reason.ts'
import type { Opening } from '../../../lib/postgres/session.ts'
import { conninfoOf } from '../../support/database.ts'
import { error, honest, openPeer, type Peer, row, type Scenario, silence } from '../../support/peer.ts'

type Attrs = Conninfo['targetSessionAttrs']

const now = () => performance.now()
const closes: Scenario = { ...honest, accept: 'close' }
const silent: Scenario = { ...honest, startup: silence }
const primary = serverOf(row('primary'))
const standby = serverOf(row('standby'))
/** Its answer is not a role. */
const odd = serverOf(row('1'))
const discreet = serverOf(error('42501', 'permission denied for function pg_is_in_recovery'))

/** A server that gives this answer when it is asked for its role. */
function serverOf(answer: Buffer): Scenario {
  return { ...honest, statement: (_, sent) => (sent.includes('pg_is_in_recovery') ? answer : row('1')) }
}

/** Searches peers that play these scenarios, in this order, for so many milliseconds. */
async function search(t: TestContext, attrs: Attrs, scenarios: readonly Scenario[], ms = 60_000) {
  const peers: Peer[] = []
  for (const scenario of scenarios) {
    const peer = await openPeer(scenario)
    t.after(() => peer.close())
    peers.push(peer)
  }
  const [first, ...others] = peers.map(({ port }) => ({ host: '127.0.0.1', address: undefined, port }))
  assert.ok(first)
  const hosts = createHosts({ lookup: createLookup(), addressTimeoutMs: 1_000, now })
  const conninfo = conninfoOf(0, { hosts: [first, ...others], targetSessionAttrs: attrs })
  const opening = hosts.open(conninfo, now(), now() + ms)
  t.after(() => opening.destroy(new Error('The test is over')))
  const connections = () => peers.map(peer => peer.connections)
  return { session: opening.session, connections }
}

/** Why no host fits. */
function reasonFor(session: Opening['session']): Promise<string> {
  return session.then(() => 'none', reasonOf)
}

describe('a server with another role', () => {
  for (const role of ['standby', 'read_only'] satisfies Role[]) {
    test(`is sent Terminate before the next host is tried, if it is ${role}`, async t => {
      const seen: string[] = []
      const watched = (name: string, answer: Buffer): Scenario => ({
        ...honest,
        statement(index, sent) {
          seen.push(`${name} ${sent.toString('latin1', 0, 1)}`)
          return serverOf(answer).statement(index, sent)
        },
      })
      const scenarios = [watched('first', row(role)), watched('second', row('primary'))]
      const { session } = await search(t, 'read-write', scenarios)
      await session
      // X is Terminate.
      assert.deepEqual(seen, ['first Q', 'first Q', 'first X', 'second Q', 'second Q'])
    })
  }
})

test('a host that has answered is kept, if our event loop was blocked past the time of its address', async t => {
  const { session, connections } = await search(t, 'any', [primary, primary])
  // The kernel connects in the next turn.
  await new Promise(process.nextTick)
  const until = now() + 1_300
  while (now() < until);
  await session
  assert.deepEqual(connections(), [1, 0])
})

describe('a server that does not tell its role', () => {
  for (const [title, scenario] of [
    ['refuses', discreet],
    ['gives another answer', odd],
  ] as const) {
    test(`is followed by the next host, if it ${title}`, async t => {
      const { session, connections } = await search(t, 'read-write', [scenario, primary])
      assert.equal(await (await session).readRole(), 'primary')
      assert.deepEqual(connections(), [1, 1])
    })

    test(`is a reason of its own, and no failed login, if it ${title}`, async t => {
      assert.equal(await reasonFor((await search(t, 'standby', [scenario])).session), 'unknown')
    })

    test(`will do for prefer-standby if no host is a standby, if it ${title}`, async t => {
      const { session, connections } = await search(t, 'prefer-standby', [closes, scenario])
      await session
      assert.deepEqual(connections(), [1, 2])
    })
  }

  test('says less than one that has another role', async t => {
    assert.equal(await reasonFor((await search(t, 'read-write', [discreet, standby])).session), 'standby')
  })
})

describe('prefer-standby without a standby', () => {
  test('tries only those again that have answered', async t => {
    const { session, connections } = await search(t, 'prefer-standby', [closes, primary, closes])
    await session
    assert.deepEqual(connections(), [1, 2, 1])
  })

  test('takes the first of those that have answered', async t => {
    const { session, connections } = await search(t, 'prefer-standby', [primary, primary])
    await session
    assert.deepEqual(connections(), [2, 1])
  })

  test('leaves time to try them again if the last host is silent', async t => {
    const { session, connections } = await search(t, 'prefer-standby', [primary, silent], 3_000)
    await session
    assert.deepEqual(connections(), [2, 1])
  })
})
