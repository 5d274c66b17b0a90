// Finds a connection parameter by its name, in whatever spelling it is written.
import { driverParameters } from './drivers.ts'
import { libpqParameters } from './libpq.ts'
import { type Parameter, plainNameOf } from './parameter.ts'

/** Every parameter that is known by name, in the order of the documentation. */
export const parameters: readonly Parameter[] = [...libpqParameters, ...driverParameters]

const byName = new Map(
  parameters.flatMap(each => [each.name, ...(each.aliases ?? [])].map(key => [plainNameOf(key), each])),
)

/** Finds a parameter by any of its spellings; undefined when it is not known. */
export function findParameter(spelling: string): Parameter | undefined {
  return byName.get(plainNameOf(spelling))
}
