// Random numbers from a seed: the same seed gives the same numbers on every machine.

export interface Random {
  /** From 0 up to 1. */
  fraction(): number
  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number
  /** One of `items`, which has at least one. */
  pick<T>(items: readonly T[]): T
}

/** Makes a generator: mulberry32, of 32 bits, good enough for tests. */
export function createRandom(seed: number): Random {
  let state = seed
  function fraction(): number {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number) => Math.floor(fraction() * limit)
  return { fraction, below, pick: items => items[below(items.length)] as (typeof items)[number] }
}
