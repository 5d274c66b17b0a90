// Writes what a connection string is understood as in one line of libpq's keywords, for fixtures and comparisons.
import { type Conninfo, conninfoOf, readParts } from '../../../lib/conninfo/conninfo.ts'

/** `host=… user=…; left out: …`, or `refused: …` with every fault. */
export function understood(text: string): string {
  const parts = readParts(text, 'DATABASE_URL')
  if ('faults' in parts) return `refused: ${parts.faults.join('; ')}`
  const conninfo = conninfoOf(parts.value, 'me')
  if ('faults' in conninfo) return `refused: ${conninfo.faults.join('; ')}`
  const { leftOut } = parts.value
  return keywordsOf(conninfo.value) + (leftOut.length > 0 ? `; left out: ${leftOut.join(', ')}` : '')
}

/** All that is not the default, after what every connection has. */
function keywordsOf(conninfo: Conninfo): string {
  const { hosts, tls } = conninfo
  const list = (key: 'host' | 'address' | 'port') => hosts.map(host => host[key] ?? '').join()
  const keywords: [name: string, value: string | undefined, usual?: string][] = [
    ['host', list('host')],
    ['hostaddr', hosts.some(({ address }) => address) ? list('address') : ''],
    ['port', list('port')],
    ['user', conninfo.user],
    ['password', conninfo.password],
    ['dbname', conninfo.database],
    ['sslmode', tls.mode],
    ['sslnegotiation', tls.negotiation, 'postgres'],
    ['sslrootcert', tls.rootCertFile],
    ['sslcert', tls.certFile],
    ['sslkey', tls.keyFile],
    ['sslpassword', tls.keyPassword],
    ['sslcrl', tls.crlFile],
    ['ssl_min_protocol_version', tls.minVersion],
    ['ssl_max_protocol_version', tls.maxVersion],
    ['options', conninfo.options],
    ['application_name', conninfo.applicationName, 'pg-health'],
    ['target_session_attrs', conninfo.targetSessionAttrs, 'any'],
  ]
  const set = keywords.filter(([, value, usual]) => value && value !== usual)
  return set.map(([name, value]) => `${name}=${value}`).join(' ')
}
