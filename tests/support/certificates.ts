// Certificates made at run time by openssl: a root, and whatever it is to sign.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Both PEM. */
export interface Certified {
  readonly certificate: string
  readonly key: string
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'key']

/** A root of its own. Throws ENOENT when there is no openssl. */
export function createRoot(): Certified {
  return withOpenssl({}, openssl =>
    openssl('req', '-x509', ...newKey, '-subj', '/CN=root', '-out', 'certificate'),
  )
}

/** A certificate for `names` (`DNS:localhost,IP:127.0.0.1`) that ends so many days from now; -1 has expired. */
export function sign(root: Certified, names: string, days = 1): Certified {
  const files = { 'root.pem': root.certificate, 'root.key': root.key, names: `subjectAltName=${names}` }
  return withOpenssl(files, openssl => {
    openssl('req', ...newKey, '-subj', '/CN=server', '-out', 'request')
    const by = ['-CA', 'root.pem', '-CAkey', 'root.key', '-CAcreateserial', '-extfile', 'names']
    openssl('x509', '-req', '-in', 'request', ...by, '-days', String(days), '-out', 'certificate')
  })
}

/** Runs openssl in a folder with `files`, which is gone afterwards; gives what it left as `certificate` and `key`. */
function withOpenssl(
  files: Record<string, string>,
  work: (openssl: (...args: string[]) => void) => void,
): Certified {
  const folder = mkdtempSync(join(tmpdir(), 'pg-health-openssl-'))
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
    work((...args) => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' }))
    const read = (name: string) => readFileSync(join(folder, name), 'utf8')
    return { certificate: read('certificate'), key: read('key') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
