// Finds the database: in a URL, in libpq's variables, in a service file, a password file and certificates.

import {
  type CertifiedConninfo,
  type Conninfo,
  conninfoOf,
  controlFault,
  type Environment,
  hasControl,
  mergeParts,
  type Parts,
  partsOfVariables,
  readParts,
} from '../conninfo/conninfo.ts'
import { parameters } from '../conninfo/parameters.ts'
import type { Result } from '../error.ts'
import { partsOfHome, readCertificates } from './certificates.ts'
import { isMissing, type ReadFile, readText, tryRead } from './files.ts'
import { findPassword } from './passfile.ts'
import { findService } from './services.ts'

/** A database, and what became of the rest that was set. */
export interface Source {
  readonly conninfo: CertifiedConninfo
  /** Parameters and files that were left out, named for a warning. */
  readonly leftOut: readonly string[]
  readonly passwordFrom: 'settings' | 'passfile'
}

/** What a reader of settings needs of the system. */
export interface System {
  readonly env: Environment
  readonly readFile: ReadFile
  /** Who PostgreSQL's user is when none is named; empty when the system has no name for it. */
  readonly osUser: string
}

const noDatabase =
  'DATABASE_URL must be set, or DATABASE_URL_FILE, or PGHOST and the other PG variables; to try it without a database: npm run dev'

/** Reads everything that says which database, files included. */
export function readSource(system: System): Result<Source> {
  const { env, osUser } = system
  const faults: string[] = []
  const secret = readSecret('DATABASE_URL', system, faults)
  if (faults.length > 0) return { faults }
  const variables = parameters.filter(({ use }) => use === 'place').map(({ variable = '' }) => variable)
  if (!secret && ![...variables, 'PGPASSWORD_FILE'].some(name => env[name])) return { faults: [noDatabase] }

  const written = secret ? readParts(secret.text, secret.setting) : { value: undefined }
  if ('faults' in written) return written
  const parts = joinParts(written.value, system, faults)
  const found = conninfoOf(parts, osUser)
  if ('faults' in found) return { faults: [...faults, ...found.faults] }
  const calledOf = (name: string) => parts.values.get(name)?.called ?? name
  const leftOut = [...parts.leftOut]
  const password = found.value.password || readPassfile(found.value, parts, system, leftOut)
  const conninfo = readCertificates({ ...found.value, password }, system.readFile, calledOf, faults)
  if (faults.length > 0) return { faults }
  const passwordFrom = password !== found.value.password ? 'passfile' : 'settings'
  return { value: { conninfo, leftOut, passwordFrom } }
}

/** By libpq's order: the string, then its service, then the variables, then the files at home. */
function joinParts(written: Parts | undefined, system: System, faults: string[]): Parts {
  const { env, readFile } = system
  const password = written?.values.has('password') ? undefined : readSecret('PGPASSWORD', system, faults)
  const variables = partsOfVariables({ ...env, PGPASSWORD: password?.text }, written?.dialect)
  const set = mergeParts([...(written ? [written] : []), variables])
  const service = readService(set, system, faults)
  const known = mergeParts([written, service, variables].filter(parts => parts !== undefined))
  const home = env['HOME']
  if (!home || known.values.get('sslmode')?.value === 'disable') return known
  return mergeParts([known, partsOfHome(home, readFile, known)])
}

/** From the variable, or from the file that its `_FILE` names: one newline at its end is the editor's. */
function readSecret(name: string, { env, readFile }: System, faults: string[]) {
  const text = env[name]
  const path = env[`${name}_FILE`]
  const setting = path ? `${name}_FILE` : name
  if (text && path) faults.push(`${name} and ${setting} are both set: it must be one of them`)
  const content = path ? readText(readFile, path, setting, faults)?.replace(/\r?\n$/, '') : text
  if (path && content?.trim() === '') faults.push(`${setting} names an empty file`)
  // A URL is read without what is around it, and names what is wrong inside by itself.
  else if (content && name === 'PGPASSWORD' && hasControl(content)) faults.push(controlFault(setting))
  else if (content) return { setting, text: content }
  return undefined
}

/** The first file that defines the service, as in libpq: its own, then the one for all users of the machine. */
function readService({ values }: Parts, { env, readFile }: System, faults: string[]): Parts | undefined {
  const service = values.get('service')
  if (!service) return undefined
  const named = values.get('servicefile')
  const own = named ?? (env['HOME'] && { value: `${env['HOME']}/.pg_service.conf`, called: service.called })
  const all = env['PGSYSCONFDIR'] && {
    value: `${env['PGSYSCONFDIR']}/pg_service.conf`,
    called: service.called,
  }
  for (const file of [own, all]) {
    if (!file) continue
    const found = tryRead(readFile, file.value)
    if ('code' in found && !(isMissing(found) && file !== named)) {
      faults.push(`${file.called} names a file that cannot be read (${found.code})`)
      return undefined
    }
    const parts = 'text' in found ? findService(found.text, service.value, file.called) : undefined
    if (parts && 'faults' in parts) {
      faults.push(...parts.faults)
      return undefined
    }
    if (parts) return parts.value
  }
  faults.push(`${service.called} names a service that no service file defines`)
  return undefined
}

/** As libpq: a password file that is missing, or that others may read, is not used; that is worth a warning. */
function readPassfile(conninfo: Conninfo, { values }: Parts, { env, readFile }: System, leftOut: string[]) {
  const named = values.get('passfile')
  const home = env['HOME']
  const path = named?.value ?? (home && `${home}/.pgpass`)
  if (!path) return ''
  const called = named?.called.replace(/^.*: /, '') ?? '~/.pgpass'
  const file = tryRead(readFile, path)
  if ('code' in file) {
    if (named || !isMissing(file)) leftOut.push(`${called} (${file.code})`)
    return ''
  }
  if ((file.mode & 0o077) !== 0) {
    leftOut.push(`${called} (others may read it: chmod 600)`)
    return ''
  }
  return findPassword(file.text, conninfo) ?? ''
}
