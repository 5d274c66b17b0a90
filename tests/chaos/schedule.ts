// Draws the order of the faults from a seed: the same seed gives the same faults in the same order.
import { createRandom } from '../support/random.ts'
import { type Fault, faults } from './faults.ts'

export interface Step {
  /** The quiet time before it (milliseconds). */
  readonly quietMs: number
  /** One fault, or one of the database and one of the network. */
  readonly faults: readonly Fault[]
  /** How long it lasts once it shows (milliseconds). */
  readonly holdMs: number
  /** How bad it is, from 0 to 1. */
  readonly amount: number
}

/** Endless. Each round has all faults, so that a short run sees nearly everything. */
export function* createSchedule(seed: number): Generator<Step, never> {
  const random = createRandom(seed).fraction
  for (;;) {
    const bag = shuffle(faults, random)
    for (let index = 0; index < bag.length; index += 1) {
      const first = bag[index] as Fault
      const second = bag[index + 1]
      const together = random() < 0.25 && second !== undefined && canMeet(first, second)
      if (together) index += 1
      yield {
        quietMs: between(100, 500, random()),
        faults: together ? [first, second] : [first],
        // Short ones are over before a check is, long ones outlast its deadline.
        holdMs: between(50, 1_500, random() ** 2),
        amount: random(),
      }
    }
  }
}

function canMeet(one: Fault, other: Fault): boolean {
  const layers = [one.layer, other.layer]
  return layers.includes('database') && layers.includes('network')
}

function between(least: number, most: number, part: number): number {
  return Math.round(least + part * (most - least))
}

function shuffle<T>(things: readonly T[], random: () => number): T[] {
  const shuffled = [...things]
  for (let last = shuffled.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1))
    const [one, two] = [shuffled[last] as T, shuffled[other] as T]
    shuffled[last] = two
    shuffled[other] = one
  }
  return shuffled
}
