// Says with which status Node refused a request that its parser could not read.
import { codeOf } from '../error.ts'

/**
 * The status of the response that Node wrote before it closed the connection, or undefined if `error` is not a refusal
 * (a client that reset its connection). The same codes as in `socketOnError` of Node 20 to 26.
 *
 * @param error of the socket's 'error' event. A 'clientError' listener would have to write the response itself.
 */
export function refusalOf(error: unknown): number | undefined {
  const code = codeOf(error) ?? ''
  return statuses.get(code) ?? (code.startsWith('HPE_') ? 400 : undefined)
}

const statuses: ReadonlyMap<string, number> = new Map([
  ['ERR_HTTP_REQUEST_TIMEOUT', 408],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 413],
  ['HPE_HEADER_OVERFLOW', 431],
])
