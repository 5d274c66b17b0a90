// Finds a password in a password file, by libpq's rules for ~/.pgpass.
import type { Conninfo } from '../conninfo/conninfo.ts'

/** Sockets of these directories are `localhost` in a password file: one of them is libpq's own, as it was built. */
const defaultDirectories = ['/var/run/postgresql', '/run/postgresql', '/tmp']

/** The password of the first line that matches; undefined when there is none. */
export function findPassword(text: string, { hosts: [place], user, database }: Conninfo): string | undefined {
  const host = defaultDirectories.includes(place.host) ? ['localhost', place.host] : [place.host]
  const wanted = [host, [String(place.port)], [database], [user]]
  for (const line of text.split('\n')) {
    const fields = fieldsOf(line)
    const matches = wanted.every((values, index) => {
      const field = fields[index]
      return field !== undefined && (field === '*' || values.includes(withoutEscapes(field)))
    })
    const password = fields[4]
    if (matches && password) return withoutEscapes(password)
  }
  return undefined
}

const field = String.raw`((?:[^:\\]|\\.)*)`
const fiveFields = new RegExp(`^${Array(5).fill(field).join(':')}(?::.*)?$`)

/** host:port:database:user:password, where a backslash keeps a : from separating; what follows a fifth field is ignored. */
function fieldsOf(line: string): string[] {
  if (line.startsWith('#')) return []
  return fiveFields.exec(line.replace(/\r$/, ''))?.slice(1) ?? []
}

function withoutEscapes(field: string): string {
  return field.replace(/\\(.)/g, '$1')
}
