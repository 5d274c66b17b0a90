// Limits how many responses are written in one turn of the event loop.

/**
 * Creates a queue that runs tasks in their order, at most `perTurn` of them in one turn. Tasks must not throw.
 *
 * libuv (since 1.45) accepts one connection per turn, so a long turn delays all new connections. Clients that send the
 * next request immediately make every turn equally long.
 */
export function createTurns(perTurn: number): (task: () => void) => void {
  let queue: (() => void)[] = []
  /** Tasks that ran in this turn. */
  let ran = 0
  let scheduled = false

  return task => {
    if (ran < perTurn && queue.length === 0) {
      ran += 1
      task()
    } else {
      queue.push(task)
    }
    schedule()
  }

  function schedule() {
    if (!scheduled) setImmediate(startTurn)
    scheduled = true
  }

  function startTurn() {
    scheduled = false
    const tasks = queue.slice(0, perTurn)
    queue = queue.slice(perTurn)
    ran = tasks.length
    if (ran > 0) schedule()
    for (const task of tasks) task()
  }
}
