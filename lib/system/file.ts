// Reads a text file that a setting names.
import { readFileSync, statSync } from 'node:fs'
import { codedError } from '../error.ts'

/** A text file, its permissions (the last nine bits), and its owner. */
export interface TextFile {
  readonly text: string
  readonly mode: number
  readonly ownerId: number
}

/** Reads a text file. Throws an error with a `code`, also for a FIFO or a device: it could block, or never end. */
export function readTextFile(path: string): TextFile {
  const status = statSync(path)
  if (!status.isFile()) throw codedError('NOT_A_FILE')
  return { text: readFileSync(path, 'utf8'), mode: status.mode & 0o777, ownerId: status.uid }
}
