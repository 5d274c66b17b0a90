// Reads one section of a service file, by libpq's rules for ~/.pg_service.conf.

import { type Parts, partsOf } from '../conninfo/conninfo.ts'
import type { Result } from '../error.ts'

/** Reads the parameters of a service; undefined when the file does not define it. `setting` names the file in faults. */
export function findService(text: string, service: string, setting: string): Result<Parts> | undefined {
  const lines = text.split('\n').map(line => line.trim())
  const start = lines.indexOf(`[${service}]`)
  if (start < 0) return undefined
  const rest = lines.slice(start + 1)
  const end = rest.findIndex(line => line.startsWith('['))
  const section = (end < 0 ? rest : rest.slice(0, end)).filter(line => line !== '' && !line.startsWith('#'))
  if (section.some(line => !line.includes('='))) {
    return { faults: [`${setting} names a file with a line that is not name=value`] }
  }
  const pairs = section.map(line => {
    const [name = '', ...value] = line.split('=')
    return { name, value: value.join('='), isSafe: true }
  })
  if (pairs.some(({ name }) => name === 'service')) {
    return { faults: [`${setting} names a file in which one service refers to another`] }
  }
  return { value: partsOf({ dialect: 'libpq', pairs, faults: [] }, `service file of ${setting}`) }
}
