// psql as the oracle: where libpq reads a connection string too, it connects to what we connect to.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, isIP, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readSource } from '../../lib/config/source.ts'
import { type CertifiedConninfo, socketPathOf } from '../../lib/conninfo/conninfo.ts'
import { findTool } from '../support/tools.ts'

type Variables = Readonly<Record<string, string>>

/** What reaches a server, and the place in the words of psql: the address, where one is given. */
interface Arrival {
  readonly place: string
  readonly user?: string
  readonly database?: string
  readonly options?: string
  readonly applicationName?: string
  readonly password?: string
}

/** Both read it, and differ on purpose. */
const exceptions: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/@.*@/, 'an @ in a password: libpq takes the first one, and would connect to a piece of the password'],
  [/fallback_application_name/, 'psql has one of its own'],
]

const rows = readFileSync(new URL('../unit/conninfo/strings.tsv', import.meta.url), 'utf8')
  .split('\n')
  // What is around a value is no part of libpq's forms.
  .filter(line => line !== '' && !/^(#|wrapping)/.test(line))
  .map(line => line.split('\t')[1] ?? '')
  // Anything else is the name of a database to psql.
  .filter(text => /^postgres(ql)?:\/\/|^\w+ ?=[^;]*$/.test(text))

test('psql connects to what we connect to, for every string of the list that both read', async t => {
  const psql = findTool(t, 'psql')
  if (!psql) return
  const server = await listen(t)
  const hosts = new Set<string>()
  let compared = 0
  for (const text of new Set(rows.map(row => localise(row, server.port)))) {
    const env = { PGPORT: String(server.port), PGUSER: 'me', PGSSLMODE: 'disable', HOME: server.folder }
    const ours = readOurs({ ...env, DATABASE_URL: text, PGHOSTADDR: '127.0.0.1' })
    if (!ours || exceptions.some(([pattern]) => pattern.test(text))) continue
    const place = ours.hosts[0]
    const path = socketPathOf({ ...place, address: undefined })
    const theirs = await askPsql(psql, server, text, path ? env : { ...env, PGHOSTADDR: '127.0.0.1' })
    if (!theirs) continue
    compared++
    if (path) assert.equal(theirs.place, path.replace('\0', '@'), text)
    else assert.deepEqual(theirs, arrivalOf(ours), text)
    if (path || isIP(place.host) || hosts.has(place.host)) continue
    hosts.add(place.host)
    // The name of the host shows in TLS alone, as libpq connects to an address here.
    const withTls = text.replaceAll('sslmode=disable', 'sslmode=require')
    await askPsql(psql, server, withTls, { ...env, PGHOSTADDR: '127.0.0.1', PGSSLMODE: 'require' })
    assert.ok(server.takeHello()?.includes(place.host), text)
  }
  t.diagnostic(`${compared} strings compared`)
  // PostgreSQL 15's psql reads 133 of them; a test that compares nothing would always pass.
  assert.ok(compared > 100, `${compared}`)
})

const passfiles = [
  '*:*:*:*:secret',
  'h:*:d:u:secret',
  'x:*:*:*:wrong\n# *:*:*:*:wrong\n*:*:d:*:a\\:b\\\\c',
  '*:1:*:*:wrong\n*:*:*:u:a:b',
  '*:*:*:wrong',
  '\n*:*:d:u:  spaces  \r\n',
  '127.0.0.1:*:*:*:wrong\nh:*:*:*:right',
]

test('psql finds the password that we find in a password file', async t => {
  const psql = findTool(t, 'psql')
  if (!psql) return
  const server = await listen(t)
  for (const [index, text] of passfiles.entries()) {
    const PGPASSFILE = server.file(`pgpass-${index}`, text)
    for (const mode of [0o600, 0o644]) {
      chmodSync(PGPASSFILE, mode)
      const env = { PGPASSFILE, PGHOSTADDR: '127.0.0.1', PGPORT: String(server.port), HOME: server.folder }
      const ours = readOurs({ ...env, DATABASE_URL: 'postgres://u@h/d?sslmode=disable' })
      const theirs = await askPsql(psql, server, 'postgres://u@h/d?sslmode=disable', env)
      assert.equal(ours?.password ?? '', theirs?.password ?? '', `${text} ${mode.toString(8)}`)
    }
  }
})

test('psql fills in from a service file what we fill in', async t => {
  const psql = findTool(t, 'psql')
  if (!psql) return
  const server = await listen(t)
  const place = `host=h\nhostaddr=127.0.0.1\nport=${server.port}\nsslmode=disable`
  const text = `[a]\nhost=wrong\n\n[b]\n# comment\n  ${place}\ndbname=d\nuser=u\npassword=a=b c\n[c]\ndbname=wrong\n`
  const PGSERVICEFILE = server.file('services', text)
  const env = { PGSERVICEFILE, PGDATABASE: 'other', PGUSER: 'other', HOME: server.folder }
  for (const string of [
    'service=b',
    'postgres:///?service=b',
    'postgres://own@/own?service=b',
    'service=b user=own',
  ]) {
    const ours = readOurs({ ...env, DATABASE_URL: string })
    assert.deepEqual(await askPsql(psql, server, string, env), ours && arrivalOf(ours), string)
  }
})

/** The same string for a server on this machine: its ports and addresses, and no TLS. */
function localise(text: string, port: number): string {
  return text
    .replace(/\b(?:sslmode|ssl-mode|ssl) ?= ?[\w-]+/g, 'sslmode=disable')
    .replace(/(?<=:|%3A|port=|port = )\d{4,5}(?=[/?\s]|$)/g, String(port))
    .replace('192.0.2.10', '127.0.0.1')
    .replace('channel_binding=require', 'channel_binding=disable')
}

function readOurs(env: Variables): CertifiedConninfo | undefined {
  const readFile = (path: string) => {
    const mode = path.includes('pgpass') ? modeOf(path) : 0o600
    return { text: readFileSync(path, 'utf8'), mode, ownerId: 1000 }
  }
  const source = readSource({ env, readFile, osUser: 'me' })
  return 'value' in source ? source.value.conninfo : undefined
}

function arrivalOf(conninfo: CertifiedConninfo): Arrival {
  const { hosts, user, database, options, applicationName, password } = conninfo
  return {
    place: `${hosts[0].address ?? hosts[0].host} ${hosts[0].port}`,
    user,
    database,
    ...(options === '' ? {} : { options }),
    applicationName: applicationName === 'pg-health' ? 'psql' : applicationName,
    ...(password === '' ? {} : { password }),
  }
}

interface Listener {
  readonly port: number
  readonly folder: string
  /** Writes a file that only we may read, and gives its path. */
  file(name: string, text: string): string
  /** What the last client said; undefined when there was none. */
  take(): Omit<Arrival, 'place'> | undefined
  /** The first message of TLS that the last client sent. */
  takeHello(): string | undefined
}

/** A server that asks for the password and then refuses. */
async function listen(t: TestContext): Promise<Listener> {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-psql-'))
  const arrivals: Omit<Arrival, 'place'>[] = []
  const hellos: string[] = []
  const server = createServer(socket => {
    serve(
      socket,
      arrival => arrivals.push(arrival),
      hello => hellos.push(hello),
    )
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  return {
    port: (server.address() as AddressInfo).port,
    folder,
    file(name, text) {
      const path = join(folder, name)
      writeFileSync(path, text, { mode: 0o600 })
      return path
    },
    take: () => arrivals.splice(0).at(-1),
    takeHello: () => hellos.splice(0).at(-1),
  }
}

/** The first number of a start-up message, and of a request for TLS. */
const version3 = 196_608
const sslRequest = 80_877_103

/** Reads what a client sends until it has a password, or begins TLS, or goes away; then refuses it. */
function serve(
  socket: Socket,
  arrive: (arrival: Omit<Arrival, 'place'>) => void,
  greet: (hello: string) => void,
) {
  let received = Buffer.alloc(0)
  let parameters: Map<string, string> | undefined
  let isTls = false
  socket.on('error', () => {})
  socket.on('data', chunk => {
    if (isTls) {
      greet(chunk.toString('latin1'))
      socket.destroy()
      return
    }
    received = Buffer.concat([received, chunk])
    const start = parameters === undefined ? 0 : 1
    if (received.length < start + 4) return
    const length = start + received.readUInt32BE(start)
    if (received.length < length) return
    const body = received.subarray(start + 4, length)
    received = received.subarray(length)
    const code = parameters === undefined ? body.readUInt32BE(0) : 0
    if (parameters !== undefined) refuse(body.toString('utf8', 0, body.length - 1))
    else if (code === sslRequest) {
      isTls = true
      socket.write('S')
    } else if (code !== version3) socket.write('N')
    else {
      const texts = body.toString('utf8', 4).split('\0')
      parameters = new Map(
        texts.flatMap((name, index) => (index % 2 ? [] : [[name, texts[index + 1] ?? '']])),
      )
      // AuthenticationCleartextPassword.
      socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]))
    }
  })
  socket.on('end', () => tell(undefined))

  function refuse(password: string) {
    tell(password)
    const fields = 'SFATAL\0VFATAL\0C28P01\0Mrefused\0\0'
    const head = Buffer.from([0x45, 0, 0, 0, fields.length + 4])
    socket.end(Buffer.concat([head, Buffer.from(fields)]))
  }

  function tell(password: string | undefined) {
    if (parameters === undefined) return
    const options = parameters.get('options')
    arrive({
      user: parameters.get('user') ?? '',
      database: parameters.get('database') ?? '',
      ...(options ? { options } : {}),
      applicationName: parameters.get('application_name') ?? '',
      ...(password ? { password } : {}),
    })
    parameters = undefined
  }
}

/** Where psql connects to; undefined when it does not read the string. */
function askPsql(psql: string, server: Listener, text: string, env: Variables): Promise<Arrival | undefined> {
  server.take()
  const args = ['--no-psqlrc', '--no-password', '--command', '', '--dbname', text]
  return new Promise(resolve => {
    execFile(
      psql,
      args,
      { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', ...env }, timeout: 10_000 },
      (_error, _stdout, stderr) => {
        const [, socket, host, port] =
          /connection to server (?:on socket "(.*?)"|at "(.*?)".*?, port (\d+)) failed/.exec(stderr) ?? []
        const place = socket ?? (host && `${host} ${port}`)
        resolve(place ? { place, ...server.take() } : undefined)
      },
    )
  })
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o777
}
