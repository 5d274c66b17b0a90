// The phase of the server's life: one fact that only the shutdown changes.

/**
 * - `serving`: /health is answered by checks.
 * - `draining`: /health reports 503 without a check, every response closes its connection. The program's port stays open.
 * - `closing`: the program closes its port, requests in flight finish, then the session with PostgreSQL ends.
 */
export type Phase = 'serving' | 'draining' | 'closing'

export interface Life {
  phase(): Phase
  enter(phase: Phase): void
}

/** Makes a life in its first phase, `serving`. */
export function createLife(): Life {
  let current: Phase = 'serving'
  return {
    phase: () => current,
    enter(phase) {
      current = phase
    },
  }
}
