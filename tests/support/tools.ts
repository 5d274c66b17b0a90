// Finds the programs that some tests use. A test without its program is skipped, but not in CI.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'

/** PATH, and the folders of servers, which are not in an ordinary user's PATH on Debian. */
const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']

/** What may be missing: a container runtime, other programs, an image in which systemd runs. */
export type Kind = 'containers' | 'tools' | 'systemd'

/** True when tests must not be skipped for lack of `kind`: PG_HEALTH_REQUIRE lists the kinds, and .ci/run sets it. */
export function isRequired(kind: Kind): boolean {
  return (process.env['PG_HEALTH_REQUIRE'] ?? '').split(/[\s,]+/).includes(kind)
}

/** Where a program is; undefined, and the test skipped, where it is not installed. Throws where it is required. */
export function findTool(t: TestContext, name: string): string | undefined {
  const path = folders.map(folder => join(folder, name)).find(isExecutable)
  if (path !== undefined) return path
  if (isRequired('tools')) throw new Error(`${name} is required here, but not installed`)
  t.skip(`${name} is not installed`)
  return undefined
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
