// Reads the certificates and the key of TLS, with the permissions and the default files of libpq.
import { type CertifiedConninfo, type Conninfo, type Parts, socketPathOf } from '../conninfo/conninfo.ts'
import { isMissing, type ReadFile, type TextFile, tryRead } from './files.ts'

const inHome = [
  ['sslrootcert', 'root.crt'],
  ['sslcert', 'postgresql.crt'],
  ['sslkey', 'postgresql.key'],
  ['sslcrl', 'root.crl'],
] as const

/** The files in ~/.postgresql, as parts that count where nothing else is said; a list of revocations needs its root. */
export function partsOfHome(home: string, readFile: ReadFile, set: Parts): Parts {
  const values = new Map<string, { value: string; called: string }>()
  const leftOut: string[] = []
  for (const [name, file] of inHome) {
    const value = `${home}/.postgresql/${file}`
    const called = `~/.postgresql/${file}`
    if (set.values.has(name) || (name === 'sslcrl' && !values.has('sslrootcert'))) continue
    const found = tryRead(readFile, value)
    if ('text' in found) values.set(name, { value, called })
    else if (!isMissing(found)) leftOut.push(`${called} (${found.code})`)
  }
  return { values, leftOut, faults: [], dialect: 'libpq' }
}

/** Reads the files that a Conninfo names, unless no TLS will be used; `calledOf` names a parameter in faults. */
export function readCertificates(
  conninfo: Conninfo,
  readFile: ReadFile,
  calledOf: (parameter: string) => string,
  faults: string[],
): CertifiedConninfo {
  const { mode, rootCertFile, certFile, keyFile, crlFile, keyPassword } = conninfo.tls
  const usesTls = mode !== 'disable' && conninfo.hosts.some(host => socketPathOf(host) === undefined)
  const root = rootCertFile === 'system' ? undefined : rootCertFile
  const rootCert = read('sslrootcert', root, 'CERTIFICATE', 'certificate')
  const cert = read('sslcert', certFile, 'CERTIFICATE', 'certificate')
  const key = read('sslkey', keyFile, '(?:[A-Z]+ )*PRIVATE KEY', 'private key')
  const crl = read('sslcrl', crlFile, 'X509 CRL', 'list of revoked certificates')
  if (key?.includes('ENCRYPTED') && keyPassword === '') {
    faults.push(`${calledOf('sslkey')} names an encrypted key: set sslpassword`)
  }
  return { ...conninfo, rootCert, cert, key, crl }

  function read(name: string, path: string | undefined, label: string, what: string): string | undefined {
    if (!usesTls || path === undefined) return undefined
    const called = calledOf(name)
    const file = tryRead(readFile, path)
    if ('code' in file) faults.push(`${called} names a file that cannot be read (${file.code})`)
    else if (name === 'sslkey' && isOpen(file)) {
      faults.push(`${called} names a key that others may read: chmod 600 (640 is enough when root owns it)`)
    } else if (new RegExp(`-----BEGIN ${label}-----`).test(file.text)) return file.text
    else faults.push(`${called} names a file without a ${what} (PEM)`)
    return undefined
  }
}

/** As libpq: nobody else may read a key; the group may when it is root's, as in a mounted secret. */
function isOpen({ mode, ownerId }: TextFile): boolean {
  return (mode & (ownerId === 0 ? 0o037 : 0o077)) !== 0
}
