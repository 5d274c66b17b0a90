// Certificates made at run time by openssl: a root, and what it signs or revokes.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Both PEM. */
export interface Certified {
  readonly certificate: string
  readonly key: string
}

/** Why tests with certificates can't run here, or false when they can. */
export function missingOpenssl(): string | false {
  const { error } = spawnSync('openssl', ['version'])
  return error ? `openssl makes the certificates, and does not run here: ${error.message}` : false
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'key']

/** Makes a root. Throws ENOENT when there is no openssl. */
export function createRoot(): Certified {
  return withOpenssl({}, (openssl, read) => {
    openssl('req', '-x509', ...newKey, '-subj', '/CN=root', '-out', 'certificate')
    return { certificate: read('certificate'), key: read('key') }
  })
}

/** A server's certificate for `names` (`DNS:localhost,IP:127.0.0.1`) that expires in `days`; -1 is in the past. */
export function sign(root: Certified, names: string, days = 1): Certified {
  return signAs(root, 'server', `subjectAltName=${names}`, days)
}

/** A client's certificate for the role `user`. */
export function signClient(root: Certified, user: string): Certified {
  return signAs(root, user, 'extendedKeyUsage=clientAuth', 1)
}

function signAs(root: Certified, name: string, extension: string, days: number): Certified {
  const files = { 'root.pem': root.certificate, 'root.key': root.key, extension }
  return withOpenssl(files, (openssl, read) => {
    openssl('req', ...newKey, '-subj', `/CN=${name}`, '-out', 'request')
    const by = ['-CA', 'root.pem', '-CAkey', 'root.key', '-CAcreateserial', '-extfile', 'extension']
    openssl('x509', '-req', '-in', 'request', ...by, '-days', String(days), '-out', 'certificate')
    return { certificate: read('certificate'), key: read('key') }
  })
}

/** The key, encrypted with a password. */
export function encryptKey(key: string, password: string): string {
  return withOpenssl({ key }, (openssl, read) => {
    openssl(
      'pkcs8',
      '-topk8',
      '-in',
      'key',
      '-v2',
      'aes-256-cbc',
      '-passout',
      `pass:${password}`,
      '-out',
      'out',
    )
    return read('out')
  })
}

/** The root's list of revoked certificates (PEM): it names those given. */
export function revoke(root: Certified, ...revoked: Certified[]): string {
  const config = '[ca]\ndefault_ca=c\n[c]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=1\n'
  const certificates = revoked.map(({ certificate }, index) => [`revoked${index}`, certificate])
  const files = { 'root.pem': root.certificate, 'root.key': root.key, config, index: '' }
  return withOpenssl({ ...files, ...Object.fromEntries(certificates) }, (openssl, read) => {
    const ca = ['ca', '-config', 'config', '-cert', 'root.pem', '-keyfile', 'root.key']
    for (const [name = ''] of certificates) openssl(...ca, '-revoke', name)
    openssl(...ca, '-gencrl', '-out', 'crl')
    return read('crl')
  })
}

/** Runs openssl in a folder that holds `files`, and deletes the folder afterwards. */
function withOpenssl<T>(
  files: Record<string, string>,
  work: (openssl: (...args: string[]) => void, read: (name: string) => string) => T,
): T {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-openssl-'))
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
    return work(
      (...args) => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' }),
      name => readFileSync(join(folder, name), 'utf8'),
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
}
