// Sorts what was written: parameters that are honoured, those that are left out, and those that are refused.
import type { Dialect, Form, Pair } from './pair.ts'
import { mattersByName, type Parameter } from './parameter.ts'
import { findParameter, parameters } from './parameters.ts'
import { type Part, translateWords } from './words.ts'

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What one source says, in libpq's parameters. */
export interface Parts {
  readonly values: ReadonlyMap<string, Part>
  /** Parameters that mean nothing here, named for a warning. */
  readonly leftOut: readonly string[]
  readonly faults: readonly string[]
  readonly dialect: Dialect
}

/** Sorts what was read from the value of `setting`. */
export function partsOf(form: Form, setting: string): Parts {
  const faults = form.faults.map(fault => `${setting} ${fault}`)
  return sortPairs(form, faults, ({ name }) => ({ name, called: `${setting}: ${name}` }), setting)
}

/**
 * Reads libpq's variables. An empty one is unset. Those that say where the database is do not count beside a string of
 * JDBC or .NET: the service that it was written for does not read them.
 */
export function partsOfVariables(env: Environment, dialect: Dialect = 'libpq'): Parts {
  const faults: string[] = []
  const readsPlace = dialect === 'libpq' || dialect === 'sqlalchemy'
  const pairs = parameters.flatMap(({ name, variable = '' }) => {
    const value = env[variable]
    if (!value || (!readsPlace && places.includes(name))) return []
    if (hasControl(value)) {
      faults.push(controlFault(variable))
      return []
    }
    return [{ name, value, isSafe: true }]
  })
  const nameOf = ({ name, variable = name }: Parameter) => ({ name: variable, called: variable })
  return sortPairs({ dialect: 'libpq', pairs, faults }, faults, nameOf, '')
}

const places = ['host', 'hostaddr', 'port', 'dbname']

/** What is said of a text with a line break inside. */
export function controlFault(setting: string): string {
  return `${setting} holds a line break or another control character: was a newline copied along with it?`
}

/** Whether a text that nobody percent-encoded holds what no name or password is made of. */
export function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text)
}

/** Joins what several sources say: where the first is silent about a parameter, the next one counts. */
export function mergeParts(sources: readonly Parts[]): Parts {
  return {
    values: new Map([...sources].reverse().flatMap(({ values }) => [...values])),
    dialect: sources[0]?.dialect ?? 'libpq',
    leftOut: sources.flatMap(({ leftOut }) => leftOut),
    faults: sources.flatMap(({ faults }) => faults),
  }
}

/** Finds each pair in the table of parameters; `nameOf` says how this source names one. */
function sortPairs(
  { dialect, pairs }: Form,
  faults: string[],
  nameOf: (parameter: Parameter) => { name: string; called: string },
  setting: string,
): Parts {
  const values = new Map<string, Part>()
  const leftOut = new Set<string>()
  for (const pair of pairs) {
    const parameter = findParameter(pair.name)
    if (parameter)
      takeIn(parameter, pair.value ?? (dialect === 'jdbc' && parameter.name === 'ssl' ? 'true' : undefined))
    else leaveOut(pair)
  }
  translateWords(values, dialect, faults)
  return { values, leftOut: [...leftOut], faults, dialect }

  function takeIn(parameter: Parameter, value: string | undefined) {
    const { name, called } = nameOf(parameter)
    const { use, meaning, refuses } = parameter
    const isLeftOut = use === 'left out' && (value === undefined || value.toLowerCase() !== refuses)
    if (isLeftOut) leftOut.add(parameter.name === 'channel_binding' ? weakened(name, value) : name)
    else if (value === undefined) faults.push(`${called} has no value`)
    else if (value === '') return
    else if (use === 'refused' || use === 'left out') faults.push(`${called} can't be honoured: ${meaning}`)
    else if (!put(values, parameter.name, { value, called })) faults.push(`${setting} sets ${name} twice`)
  }

  function leaveOut({ name, isSafe }: Pair) {
    const shown = isSafe ? `parameter ${name}` : 'a parameter'
    if (mattersByName(name))
      faults.push(`${setting} sets ${shown}, which is not known and may be about trust or place: remove it`)
    else leftOut.add(isSafe ? name : 'a parameter that may be a piece of the password')
  }
}

/** False when something else is set already. */
function put(values: Map<string, Part>, name: string, part: Part): boolean {
  const before = values.get(name)
  // `localhost` beside a socket directory is a placeholder in the URLs of Cloud SQL and Prisma.
  const replaces = name === 'host' && part.value.startsWith('/')
  if (before && before.value !== part.value && !replaces) return false
  values.set(name, part)
  return true
}

function weakened(name: string, value: string | undefined): string {
  return value === 'require' ? `${name}=${value} (postgres.js has none: weaker than asked for)` : name
}
