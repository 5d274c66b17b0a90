// The table of the parameters that drivers, frameworks and hosts of databases add to libpq's own.
import { named, type Parameter, rows, used } from './parameter.ts'

const flag = 'true or false'
const path = 'a path'
const proxy = 'name the host or the socket directory that the proxy gives you'

/** Parameters whose values decide something. */
const words: readonly Parameter[] = [
  ...used('word', [
    {
      name: 'ssl',
      accepts: 'true, false, no-verify or a word of sslmode',
      meaning:
        'true is sslmode=require as in libpq; in a jdbc: or r2dbc: URL verify-full, as in their drivers',
    },
    {
      name: 'ssl_require',
      aliases: ['requiressl'],
      variable: 'PGREQUIRESSL',
      accepts: flag,
      meaning: 'true is sslmode=require (Django; PGREQUIRESSL of old libpq)',
    },
    {
      name: 'rejectUnauthorized',
      accepts: flag,
      meaning: 'true is sslmode=verify-full, false verifies nothing (Node.js)',
    },
    {
      name: 'sslaccept',
      accepts: 'strict or accept_invalid_certs',
      meaning: 'strict is sslmode=verify-full, accept_invalid_certs verifies nothing (Prisma)',
    },
    { name: 'Trust Server Certificate', accepts: flag, meaning: 'true verifies nothing (.NET)' },
    {
      name: 'sslfactory',
      accepts: 'org.postgresql.ssl.NonValidatingFactory',
      meaning: 'Verifies nothing (JDBC)',
    },
    {
      name: 'targetServerType',
      accepts: 'any, primary, secondary or preferSecondary',
      meaning: 'read-write, read-only and prefer-standby of target_session_attrs (JDBC)',
    },
    { name: 'socket_dir', accepts: path, meaning: 'The socket directory, used instead of the host (Ecto)' },
    {
      name: 'unix_sock',
      aliases: ['unixsocket'],
      accepts: path,
      meaning: 'The socket, used instead of the host (pg8000)',
    },
  ]),
  {
    name: 'Check Certificate Revocation',
    use: 'left out',
    refuses: 'true',
    meaning: 'lists are not downloaded: name a file with sslcrl instead (.NET)',
  },
  ...rows('refused', [
    ['sslidentity', '', 'write certificate and key as PEM files, and name them with sslcert and sslkey'],
    ['socketFactory', '', proxy],
    ['cloudSqlInstance', '', proxy],
  ]),
]

/** Names alone: they change neither where we connect, nor as whom, nor how safely. */
const pools = `
  checkout_timeout ConnectionIdleLifetime connection_limit connectionTimeoutMillis conn_health_checks conn_max_age
  idle_timeout idleTimeoutMillis loginTimeout max max_connection_lifetime max_idle_connection_lifetime
  MaximumPoolSize max_overflow MinimumPoolSize pgbouncer pool pool_max_conns pool_min_conns pool_pre_ping
  pool_recycle pool_size pool_timeout pooling reaping_frequency socket_timeout tcpKeepAlive timeout`
const statements = `
  binary_parameters command_timeout default_query_exec_mode defaultRowFetchSize idle_in_transaction_session_timeout
  lock_timeout MaxAutoPrepare preferQueryMode prepareThreshold prepared_statement_cache_size prepared_statements
  query_timeout reWriteBatchedInserts statement_cache_size statement-cache-capacity statement_timeout stringtype`
const others = `
  charset currentSchema encoding hostRecheckSeconds IncludeErrorDetail jit load_balance schema search_path
  serverVersion sslResponseTimeout supa topology_keys uselibpqcompat`

/** In the order of the documentation. */
export const driverParameters: readonly Parameter[] = [
  ...words,
  ...named(pools, 'concerns the pool of your service'),
  ...named(statements, 'concerns the statements of your service'),
  ...named(others, 'changes no check'),
]
