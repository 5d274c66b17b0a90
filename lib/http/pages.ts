// Renders each page at most once per turn of the event loop, however many clients request it.
import type { Reply } from '../health/reply.ts'
import type { Pages } from './route.ts'

/**
 * Wraps pages so that all requests of one turn share one rendering. Rendering a page costs as much as ten /health
 * responses. Without this, ten connections that pipelined /metrics delayed all others by 23 s.
 */
export function createPages(pages: Iterable<readonly [path: string, render: () => Reply]>): Pages {
  return new Map([...pages].map(([path, render]) => [path, oncePerTurn(render)]))
}

function oncePerTurn(render: () => Reply): () => Reply {
  let page: Reply | undefined
  return () => {
    if (page) return page
    setImmediate(() => {
      page = undefined
    })
    page = render()
    return page
  }
}
