// Opens a session in the first way that the server accepts: in plain text, or with TLS.

import type { CertifiedConninfo } from '../conninfo/conninfo.ts'
import { codeOf } from '../error.ts'
import { type ConnectOptions, isUnixSocket } from './connect.ts'
import { reasonOf } from './reason.ts'
import { type Opening, openSession, type Session } from './session.ts'

/**
 * Opens a session. For `sslmode=allow`: plain text first, then TLS if the server refuses plain text. The first connection
 * is closed before the second is opened. Never throws: failures reject `session`.
 */
export function openWithFallback(
  conninfo: CertifiedConninfo,
  options: ConnectOptions,
  startedAt: number,
): Opening {
  const plain = openSession(conninfo, options, startedAt)
  if (conninfo.tls.mode !== 'allow' || isUnixSocket(conninfo.hosts[0])) return plain

  let current = plain
  return { session: plain.session.catch(openWithTls), destroy: error => current.destroy(error) }

  async function openWithTls(refusal: unknown): Promise<Session> {
    if (!isRefusalOfPlainText(refusal)) throw refusal
    plain.destroy(refusal as Error)
    // If a root certificate is set, libpq verifies the server in every sslmode; so do we.
    const mode = conninfo.rootCert === undefined ? 'require' : 'verify-ca'
    current = openSession({ ...conninfo, tls: { ...conninfo.tls, mode } }, options, startedAt)
    return current.session.catch(error => {
      // The server has no TLS. Its first answer says what is wrong.
      throw codeOf(error) === 'TLS_NOT_OFFERED' ? refusal : error
    })
  }
}

/**
 * PostgreSQL sends 28000 when pg_hba.conf refuses us. A pooler says that it requires TLS. A wrong password (28P01) is not
 * a refusal of plain text.
 */
function isRefusalOfPlainText(error: unknown): boolean {
  return codeOf(error) === '28000' || reasonOf(error) === 'tls'
}
