// The program that tests start: the built one, as it is shipped, built again when the sources are newer.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout. */
export const root = fileURLToPath(new URL('../../', import.meta.url))

/** What Node.js is told to run, from `root`: 0.2 s to the first line, where the sources through tsx take 0.8 s. */
export const program: readonly string[] = [built()]

/**
 * Builds when `dist/server.js` is missing or older than what it is made from. So one test file can be run alone in a
 * fresh checkout. Files that run side by side may build at the same time: each moves a finished file into place.
 */
function built(): string {
  const path = 'dist/server.js'
  const lib = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
  const sources = [
    'server.ts',
    'package.json',
    'node_modules/postgres/package.json',
    ...lib.map(name => join('lib', name)),
  ]
  const newest = Math.max(...sources.map(changedAt))
  if (changedAt(path) > newest) return path
  // Beside what it replaces: a file cannot be moved to another disk in one step.
  mkdirSync(join(root, 'dist'), { recursive: true })
  const folder = mkdtempSync(join(root, 'dist', 'build-'))
  try {
    const args = ['run', '--silent', 'build', '--', `--outdir=${folder}`]
    execFileSync('npm', args, { cwd: root, stdio: 'inherit' })
    // server.js comes last, because it imports the others.
    const files = readdirSync(folder).filter(name => name !== 'server.js')
    for (const name of [...files, 'server.js']) renameSync(join(folder, name), join(root, 'dist', name))
  } finally {
    rmSync(folder, { recursive: true })
  }
  return path
}

/** In milliseconds since 1970; 0 for a file that is not there. */
function changedAt(path: string): number {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
}
