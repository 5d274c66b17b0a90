// Says what was understood of the database, line by line, without the password.
import { type CertifiedConninfo, socketPathOf } from '../conninfo/conninfo.ts'

/** Names and values for people to read; of the password and the options it says only that there are any. */
export function understoodOf(
  conninfo: CertifiedConninfo,
): readonly (readonly [what: string, value: string])[] {
  const { hosts, user, password, database, applicationName, options, cert, tls } = conninfo
  const lines: [what: string, value: string | undefined][] = [
    ...hosts.flatMap(({ host, address, port }): [string, string | undefined][] => [
      ['host', host],
      ['address', address],
      ['port', String(port)],
    ]),
    ['user', user],
    ['password', password === '' ? 'none' : 'set'],
    ['database', database],
    ['application', applicationName],
    ['options', options === '' ? undefined : 'set'],
    ['session', conninfo.targetSessionAttrs === 'any' ? undefined : conninfo.targetSessionAttrs],
    ['TLS', tlsText(conninfo)],
    ['certificate', cert === undefined ? undefined : tls.certFile],
  ]
  return lines.flatMap(([what, value]) => (value === undefined ? [] : [[what, printable(value)] as const]))
}

/** The mode of TLS, and whom it trusts. */
function tlsText({ hosts, tls: { mode, negotiation, rootCertFile }, rootCert }: CertifiedConninfo): string {
  if (hosts.every(host => socketPathOf(host) !== undefined)) return 'none: a Unix socket has no TLS'
  const signer =
    rootCert === undefined ? 'an authority that Node.js trusts' : `an authority of ${rootCertFile}`
  const names = hosts.map(({ host }) => host).join(' or ')
  const direct = negotiation === 'direct' ? '; TLS begins immediately' : ''
  return `${mode}: ${meaning()}${direct}`

  function meaning(): string {
    switch (mode) {
      case 'disable':
        return 'plain text always'
      case 'allow':
        return 'plain text, or TLS when the server demands it; the server is not verified'
      case 'prefer':
        return 'TLS when the server has it, else plain text; the server is not verified'
      case 'require':
        return 'TLS always; the server is not verified'
      case 'verify-ca':
        return `TLS always; the server has a certificate from ${signer}, for any name`
      case 'verify-full':
        return `TLS always; the server has a certificate from ${signer}, for ${names}`
    }
  }
}

/** A line break in the name of a user must not make a line of its own. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, control => JSON.stringify(control).slice(1, -1))
}
