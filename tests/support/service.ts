// Runs a program that uses the library, as a process that handles no error by itself.
import type { CommonOptions } from '../../library.ts'
import { type Child, startChild } from './child.ts'
import { root } from './program.ts'
import { environmentOf } from './server.ts'

const library = new URL('../../library.ts', import.meta.url).href

/** Starts a program in which createHealth() and pgPool() are known. `given` is in `process.argv`, from the second place. */
export function startWithLibrary(
  code: string,
  given: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Child {
  const program = `const { createHealth, pgPool } = await import(${JSON.stringify(library)})\n${code}`
  const args = ['--import', import.meta.resolve('tsx'), '--input-type=module', '--eval', program, ...given]
  return startChild(process.execPath, args, { cwd: root, env: environmentOf(env) })
}

/** A service that is running. */
export interface Service {
  readonly child: Child
  /** `http://127.0.0.1:PORT` */
  readonly origin: string
  close(): Promise<void>
}

/** Starts the smallest service that has a dedicated connection. Resolves when it listens. */
export async function startService(
  options: Pick<CommonOptions, 'timeoutMs'> & { readonly database: string },
  env: Readonly<Record<string, string>> = {},
): Promise<Service> {
  const code = `
    const { createServer } = await import('node:http')
    const server = createServer(createHealth(JSON.parse(process.argv[1])).handler)
    server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port))`
  const child = startWithLibrary(code, [JSON.stringify(options)], env)
  return { child, origin: `http://127.0.0.1:${await child.said(/^port (\d+)$/m)}`, close }

  async function close() {
    child.process.kill('SIGKILL')
    await child.ended
  }
}
