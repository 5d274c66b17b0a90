// What a service sees: the options of createHealth(), and what it returns.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Verdict } from '../health/verdict.ts'
import type { HealthCheck, PoolSourceOptions } from '../pool/source.ts'

/** Options of `createHealth()` that do not depend on where the connection comes from. */
export interface CommonOptions {
  /** Every request is answered within this many milliseconds, 200 to 60000. Default: 2000. */
  readonly timeoutMs?: number | undefined
  /** The status of an unhealthy response: 200, or 500 to 599. Default: 503. */
  readonly unhealthyStatus?: number | undefined
  /**
   * The path in front of /health, /readyz and /livez: `/internal` for /internal/health. Paths without it belong to the
   * service. Needed where the framework does not remove it. Default: none.
   */
  readonly prefix?: string | undefined
  /**
   * Whether `/`, `/history` and `/metrics` are served, below the prefix. Without a prefix or a mount path they replace the
   * service's own `/`, `/history` and `/metrics`. Default: false.
   */
  readonly pages?: boolean | undefined
  /**
   * Called with each verdict, for logs and metrics. `verdict.error` is the raw error of the driver: it may hold secrets.
   * If it throws, or its promise rejects, the requests get the verdict all the same, and one process warning tells it; its
   * code is PG_HEALTH_ON_VERDICT. Default: none.
   */
  readonly onVerdict?: ((verdict: Verdict) => void) | undefined
}

/** The check uses the pool of the service. */
export interface PoolOptions extends CommonOptions {
  /** Sends one query through the pool of the service: `pgPool(pool)`, or a function. Healthy if it resolves. */
  readonly check: HealthCheck
  /** The value that the check must resolve with, compared by `Object.is`. Default: anything but `false`. */
  readonly expect?: PoolSourceOptions['expect']
  /**
   * How many calls of `check` may be unsettled at the same time, 1 to 10. Each may hold a connection of the pool.
   * Default: 2.
   */
  readonly maxPending?: number | undefined
  readonly database?: undefined
}

/** The check uses a dedicated connection, as the program does. */
export interface DatabaseOptions extends CommonOptions {
  /**
   * A postgres:// URL or another form of docs/configuration.md. The environment is not read. `undefined` throws; it is
   * here for `process.env.DATABASE_URL`.
   */
  readonly database: string | undefined
  readonly check?: undefined
  readonly expect?: undefined
  readonly maxPending?: undefined
}

/** Options of `createHealth()`: `check` or `database`, and what both share. */
export type HealthOptions = PoolOptions | DatabaseOptions

/** What `createHealth()` returns. The functions need no `this`. */
export interface Health {
  /**
   * Answers a request of node:http on /health, /readyz and /livez, each with or without a slash at its end, and on the
   * pages if they are asked for. Without `next`, any other path gets 404; with `next`, as in Express, it is passed on.
   *
   * @throws TypeError if it gets anything but a response of node:http. Nothing else.
   */
  readonly handler: (request: IncomingMessage, response: ServerResponse, next?: () => void) => void
  /** The same for the web standard. Any other path gets 404. It rejects, with TypeError, only what is no `Request`. */
  readonly fetch: (request: Request) => Promise<Response>
  /**
   * From now on /health and /readyz answer 503 "server is shutting down", also to requests that wait; /livez stays 200.
   * Every response closes its connection. No check starts, and the signal of the running one aborts. Call it on SIGTERM.
   */
  readonly drain: () => void
  /**
   * Drains, and ends the dedicated connection, within half a second. A pool of the service stays as it is. All calls
   * resolve when the connection has ended.
   */
  readonly close: () => Promise<void>
}
