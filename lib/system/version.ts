// Reads the version of this package from its package.json.
import { readFileSync } from 'node:fs'

/**
 * The version. package.json is beside an entry in a checkout, and above dist/ in the package. `unknown` if a bundler has
 * moved the code: the file that is there then belongs to somebody else.
 *
 * @param entry `import.meta.url` of server.ts or library.ts.
 */
export function readVersion(entry: string): string {
  try {
    const path = entry.endsWith('.ts') ? './package.json' : '../package.json'
    const { name, version } = JSON.parse(readFileSync(new URL(path, entry), 'utf8'))
    return name === 'pg-health' ? version : 'unknown'
  } catch {
    return 'unknown'
  }
}
