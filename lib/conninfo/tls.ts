// Reads what libpq's parameters say about TLS: whether it is used, whom it trusts and who we are.
import { findWord, type TlsMode, tlsModes } from './words.ts'

export interface Tls {
  readonly mode: TlsMode
  /** `direct`: TLS begins without PostgreSQL's SSLRequest (PostgreSQL 17 and newer), with ALPN `postgresql`. */
  readonly negotiation: 'postgres' | 'direct'
  /** Paths of PEM files; undefined where there is none. `rootCertFile` may be the word `system`. */
  readonly rootCertFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly crlFile: string | undefined
  /** Of an encrypted key; empty when there is none. */
  readonly keyPassword: string
  readonly minVersion: TlsVersion | undefined
  readonly maxVersion: TlsVersion | undefined
}

export type TlsVersion = (typeof versions)[number]
const versions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const

type Of = (name: string) => string | undefined
type Fault = (name: string, text: string) => void

/** Reads TLS by libpq's rules; `of` gives the value of a parameter, `fault` takes what is wrong with one. */
export function readTls(of: Of, fault: Fault): Tls {
  const rootCertFile = of('sslrootcert')
  const mode = readMode(of, fault)
  const negotiation = findWord(['postgres', 'direct'], of('sslnegotiation') ?? 'postgres')
  if (negotiation === undefined) fault('sslnegotiation', 'must be postgres or direct')
  if (negotiation === 'direct' && tlsModes.indexOf(mode) < tlsModes.indexOf('require')) {
    fault('sslnegotiation', 'must go with sslmode=require, verify-ca or verify-full when it is direct')
  }
  const sendsCert = findWord(['disable', 'allow'], of('sslcertmode') ?? 'allow')
  if (sendsCert === undefined) fault('sslcertmode', 'must be disable or allow')
  const certFile = sendsCert === 'allow' ? of('sslcert') : undefined
  const keyFile = certFile && of('sslkey')
  if (certFile && !keyFile) fault('sslcert', 'must go with an sslkey')
  return {
    mode,
    negotiation: negotiation ?? 'postgres',
    rootCertFile,
    certFile,
    keyFile,
    crlFile: of('sslcrl'),
    keyPassword: of('sslpassword') ?? '',
    ...readVersions(of, fault),
  }
}

/** As libpq: a root certificate makes `require` verify it, and the system's store makes sense only in full. */
function readMode(of: Of, fault: Fault): TlsMode {
  const rootCertFile = of('sslrootcert')
  const word = of('sslmode') ?? (rootCertFile === 'system' ? 'verify-full' : 'prefer')
  const mode = findWord(tlsModes, word)
  if (mode === undefined) fault('sslmode', `must be one of ${tlsModes.join(', ')}`)
  else if (rootCertFile === 'system' && mode !== 'verify-full') {
    fault('sslmode', 'must be verify-full with the sslrootcert called system')
  }
  const verifies = rootCertFile !== undefined && of('trust') !== 'any'
  return mode === 'require' && verifies ? 'verify-ca' : (mode ?? 'verify-full')
}

function readVersions(of: Of, fault: Fault): Pick<Tls, 'minVersion' | 'maxVersion'> {
  const [minVersion, maxVersion] = ['ssl_min_protocol_version', 'ssl_max_protocol_version'].map(name => {
    const text = of(name)
    const version = text === undefined ? undefined : findWord(versions, text)
    if (text !== undefined && version === undefined) fault(name, `must be one of ${versions.join(', ')}`)
    return version
  })
  if (minVersion && maxVersion && versions.indexOf(minVersion) > versions.indexOf(maxVersion)) {
    fault('ssl_min_protocol_version', 'must not be newer than ssl_max_protocol_version')
  }
  return { minVersion, maxVersion }
}
