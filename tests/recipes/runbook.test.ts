// The runbook is true: its sentences, links, numbers and commands are those of the program and the recipes.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import { parse } from 'yaml'
import { lagSentences } from '../../lib/health/role.ts'
import { sentences } from '../../lib/health/verdict.ts'
import { openFolder, openService, recipe, runProgram } from '../support/consumers.ts'
import { openPostgres } from '../support/postgres.ts'
import { ask } from '../support/server.ts'
import { findTool } from '../support/tools.ts'

const runbook = readFileSync(recipe('../docs/runbook.md'), 'utf8')
const headings = [...runbook.matchAll(/^##+ (.+)$/gm)].map(([, heading = '']) => heading)
/** The commands of the runbook, as they are written. */
const commands = [...runbook.matchAll(/^```sh\n([^`]+)\n```$/gm)].map(([, command = '']) => command)

/** As GitHub makes the anchor of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')
}

function commandWith(words: string): string {
  const found = commands.filter(command => command.includes(words))
  assert.equal(found.length, 1, words)
  return found[0] ?? ''
}

test('the runbook has a paragraph with Check and Fix for every sentence that a client can read, and no other', () => {
  const explained = [...runbook.matchAll(/^### `(.+)`$/gm)].map(([, sentence = '']) => sentence)
  const said = [...Object.values(sentences), ...Object.values(lagSentences)]
  assert.deepEqual(explained.toSorted(), said.toSorted())
  for (const paragraph of runbook.split(/^### `/m).slice(1)) {
    const [text = ''] = paragraph.split(/^## /m)
    assert.match(text, /^Check:/m, text)
    assert.match(text, /^Fix[:,]/m, text)
  }
})

test('the runbook has the headings that alerts link to', () => {
  const alerts = ['database-unhealthy-sustained', 'database-flapping-intermittent', 'database-slow']
  const anchors = headings.map(anchorOf)
  for (const anchor of [...alerts, 'probe-target-missing', 'nobody-asks']) {
    assert.ok(anchors.includes(anchor), anchor)
  }
})

test("the runbook's table has the numbers of the recipes", () => {
  const rows = [haproxyRow(), nginxRow(), targetGroupRow(), ...blackboxRows(), ...containerRows()]
  for (const row of rows) assert.ok(runbook.includes(`\n${row} |`), row)
})

test("the runbook's SQL runs on PostgreSQL", async t => {
  const postgres = await openPostgres()
  t.after(() => postgres.close())
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  const blocks = [...runbook.matchAll(/^```sql\n([^`]+)\n```$/gm)].map(([, sql = '']) => sql)
  assert.ok(blocks.length > 0)
  for (const sql of blocks) await client.query(sql)
  await client.end()
})

test("the runbook's commands find an outage in the log, count its reasons and show where the time goes", async t => {
  const curl = findTool(t, 'curl')
  if (curl === undefined) return
  const { postgres, server } = await openService(t)
  await postgres.stop()
  await ask(`${server.origin}/health`)
  await postgres.start()
  await ask(`${server.origin}/health`)
  const lines = server.output().trim().split('\n')
  // The log as a container has it, and as systemd's journal shows it.
  const journal = lines.map(line => `Nov 22 03:00:00 host pg-health[1]: ${JSON.parse(line).message}`)
  const log = join(openFolder(t), 'log')
  const run = (command: string) => {
    const script = `journalctl() { cat '${log}'; }\n${command}`
    return runProgram('sh', ['-c', script], { URL: `${server.origin}/health` })
  }
  for (const form of [lines, journal]) {
    writeFileSync(log, `${form.join('\n')}\n`)
    const [first = '', down = '', up = '', ...more] = (await run(commandWith('| tail'))).output
      .trim()
      .split('\n')
    assert.match(first, /healthy \(first result\)/)
    assert.match(down, /unhealthy: database unreachable \(ECONNREFUSED\), after [\d.]+ s healthy/)
    assert.match(up, /healthy, after [\d.]+ s unhealthy/)
    assert.deepEqual(more, [])
    assert.match((await run(commandWith('uniq -c'))).output, /^ *1 database unreachable\n$/)
  }
  const timing = await run(commandWith('server-timing'))
  assert.match(timing.output, /^x-process-time-ms: \d+\r?\nserver-timing: wait;.* query;.* total;.*\r?\n$/m)
})

function haproxyRow() {
  const text = readFileSync(recipe('haproxy/haproxy.cfg'), 'utf8')
  const [, inter, fall, rise] = /default-server inter (\d+)s fall (\d+) rise (\d+)/.exec(text) ?? []
  const [, wait] = /^ {2}timeout check (\d+)s/m.exec(text) ?? []
  const numbers = { every: Number(inter), wait: Number(wait), fall: Number(fall), rise: Number(rise) }
  return rowOf('HAProxy', numbers, 'after each other')
}

function nginxRow() {
  const [, wait] = /proxy_read_timeout (\d+)s/.exec(readFileSync(recipe('nginx/nginx.conf'), 'utf8')) ?? []
  const servers = readFileSync(recipe('nginx/servers.conf'), 'utf8')
  const all = [...servers.matchAll(/^server \S+ max_fails=(\d+) fail_timeout=(\d+)s;/gm)]
  const kinds = new Set(all.map(([, fails, away]) => `${counted(Number(fails), 'failure')} | ${away} s`))
  return `| NGINX | when a client asks | ${wait} s | ${[...kinds].join()}`
}

function targetGroupRow() {
  const group = JSON.parse(readFileSync(recipe('aws/target-group.json'), 'utf8'))
  const numbers = {
    every: group.HealthCheckIntervalSeconds,
    wait: group.HealthCheckTimeoutSeconds,
    fall: group.UnhealthyThresholdCount,
    rise: group.HealthyThresholdCount,
  }
  return rowOf('AWS ALB', numbers, 'on time')
}

function blackboxRows() {
  const { modules } = parse(readFileSync(recipe('prometheus/blackbox.yml'), 'utf8'))
  return [
    `| blackbox_exporter | as Prometheus scrapes: 15 s | ${modules.pg_health.timeout.replace('s', ' s')}`,
  ]
}

/** The probes of the manifest, and the health check of the image. */
function containerRows(): string[] {
  const manifest = recipe('kubernetes/deployment.yaml')
  const { readinessProbe, livenessProbe } = parse(readFileSync(manifest, 'utf8')).spec.template.spec
    .containers[0]
  const image = readFileSync(recipe('../Containerfile'), 'utf8')
  const [, every, wait] = /^HEALTHCHECK --interval=(\d+)s --timeout=(\d+)s/m.exec(image) ?? []
  const numbersOf = (probe: typeof readinessProbe) => ({
    every: probe.periodSeconds,
    wait: probe.timeoutSeconds,
    fall: probe.failureThreshold ?? 3,
    rise: probe.successThreshold ?? 1,
  })
  const liveness = rowOf('Kubernetes, liveness', numbersOf(livenessProbe), 'on time')
  return [
    rowOf('Kubernetes, readiness', numbersOf(readinessProbe), 'on time'),
    // It does not ask the database.
    liveness.replace(/[^|]+$/, ' never'),
    rowOf('Docker', { every: Number(every), wait: Number(wait), fall: 3, rise: 1 }, 'after each other'),
  ]
}

interface Numbers {
  readonly every: number
  readonly wait: number
  readonly fall: number
  readonly rise: number
}

/**
 * With the time in which a hang takes us out. Some ask on time, however long the last answer took; others wait
 * for it, and only then for their interval.
 */
function rowOf(
  consumer: string,
  { every, wait, fall, rise }: Numbers,
  pace: 'on time' | 'after each other',
): string {
  const timeout = 2
  const hang = pace === 'on time' ? fall * every + timeout : fall * (every + timeout)
  const cells = [`${every} s`, `${wait} s`, counted(fall, 'failure'), counted(rise, 'success'), `${hang} s`]
  return `| ${[consumer, ...cells].join(' | ')}`
}

function counted(count: number, word: string): string {
  return count === 1 ? `1 ${word}` : `${count} ${word}${word.endsWith('s') ? 'es' : 's'}`
}
