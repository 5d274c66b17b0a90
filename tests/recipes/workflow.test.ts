// The workflow of GitHub runs .ci/run, by pinned actions, with the right to read and no other.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'

const text = readFileSync(new URL('../../.github/workflows/ci.yml', import.meta.url), 'utf8')
const script = readFileSync(new URL('../../.ci/run', import.meta.url), 'utf8')
const { permissions, jobs } = parse(text)

test('every action is pinned to a commit, and its version stands beside it', () => {
  const uses = text.split('\n').filter(line => line.includes('uses:'))
  assert.ok(uses.length > 0)
  for (const line of uses) assert.match(line, /uses: actions\/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
})

test('no job may do more than read, and none keeps the credentials of the checkout', () => {
  assert.deepEqual(permissions, { contents: 'read' })
  for (const job of Object.values<{ permissions?: unknown }>(jobs)) assert.equal(job.permissions, undefined)
  const [checkout] = jobs.test.steps
  assert.deepEqual(checkout.with, { 'persist-credentials': false })
})

test('it runs .ci/run and nothing else, on the versions of Node.js that .ci/run has by itself', () => {
  const runs = jobs.test.steps.filter((step: { run?: string }) => step.run)
  assert.deepEqual(
    runs.map((step: { run: string }) => step.run),
    ['.ci/run'],
  )
  const [, versions] = /\$\{NODE_VERSIONS-([\d ]+)\}/.exec(script) ?? []
  assert.equal(jobs.test.strategy.matrix.node.join(' '), versions)
  assert.equal(runs[0].env.NODE_VERSIONS, '')
})
