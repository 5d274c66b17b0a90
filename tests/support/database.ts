// Checks a database once, without the program around it: what to connect to, and what became of it.
import type { TestContext } from 'node:test'
import type { CertifiedConninfo, Tls } from '../../lib/conninfo/conninfo.ts'
import { codeOf } from '../../lib/error.ts'
import { createDatabase, type DatabaseOptions } from '../../lib/postgres/database.ts'

/** What a Conninfo that names no files holds instead of their text. */
export const noFiles = { rootCert: undefined, cert: undefined, key: undefined, crl: undefined }

export type ConninfoChanges = Partial<Omit<CertifiedConninfo, 'tls'>> & {
  readonly tls?: Partial<Tls>
  /** Of the one host: instead of 127.0.0.1. */
  readonly host?: string
  readonly address?: string
}

/** `postgres` at 127.0.0.1, without TLS unless `changes` say so. */
export function conninfoOf(port: number, changes: ConninfoChanges = {}): CertifiedConninfo {
  const { tls, host = '127.0.0.1', address, ...rest } = changes
  return {
    hosts: [{ host, address, port }],
    targetSessionAttrs: 'any',
    user: 'postgres',
    password: '',
    database: 'postgres',
    applicationName: 'pg-health',
    options: '',
    ...noFiles,
    ...rest,
    tls: {
      mode: 'disable',
      negotiation: 'postgres',
      rootCertFile: undefined,
      certFile: undefined,
      keyFile: undefined,
      crlFile: undefined,
      keyPassword: '',
      minVersion: undefined,
      maxVersion: undefined,
      ...tls,
    },
  }
}

const now = () => performance.now()

/** Opens a database that the test closes at its end. */
export function openDatabase(
  t: TestContext,
  conninfo: CertifiedConninfo,
  changes: Partial<DatabaseOptions> = {},
) {
  const limits = { timeoutMs: 2_000, connectTimeoutMs: 5_000, sessionMaxAgeMs: 60_000, ...changes }
  const database = createDatabase({ phase: () => 'serving', readConninfo: () => conninfo, ...limits, now })
  t.after(() => database.close())
  return database
}

/** One check: `healthy`, or the reason and the error's code. */
export async function check(t: TestContext, conninfo: CertifiedConninfo): Promise<string> {
  const { result, error } = await openDatabase(t, conninfo).check(now() + 2_000)
  return result === 'healthy' ? 'healthy' : `${result} ${codeOf(error)}`
}
