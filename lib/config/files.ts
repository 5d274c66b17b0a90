// Reads the files that settings name, and says what is wrong with them without repeating a path.
import { codeOf } from '../error.ts'

/** A file as the system has it. */
export interface TextFile {
  readonly text: string
  /** Permission bits: 0o600. */
  readonly mode: number
  /** The number of the user that owns it; 0 is root. */
  readonly ownerId: number
}

/** Reads a regular file, or throws an error with a `code`. */
export type ReadFile = (path: string) => TextFile

/** A file, or the code of the error: ENOENT, EACCES, NOT_A_FILE. */
export type Attempt = TextFile | { readonly code: string }

/** Tries to read a file. */
export function tryRead(readFile: ReadFile, path: string): Attempt {
  try {
    return readFile(path)
  } catch (error) {
    return { code: codeOf(error) ?? 'unknown error' }
  }
}

/** Whether a file is just not there, which is right for one that nobody named. */
export function isMissing(attempt: Attempt): boolean {
  return 'code' in attempt && ['ENOENT', 'ENOTDIR'].includes(attempt.code)
}

/** Reads the text of a file, or adds a fault. The path is not repeated: it may be a secret in the wrong variable. */
export function readText(readFile: ReadFile, path: string, setting: string, faults: string[]) {
  const found = tryRead(readFile, path)
  if ('text' in found) return found.text
  faults.push(`${setting} names a file that cannot be read (${found.code})`)
  return undefined
}
