// The table of the parameters that drivers, frameworks and hosts of databases add to libpq's own.
import { named, type Parameter, rows, used } from './table.ts'

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
      accepts: 'org.postgresql.ssl.NonValidatingFactory or org.postgresql.ssl.LibPQFactory',
      meaning: 'The first verifies nothing; the second is the default (JDBC)',
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
    [
      'aurora_cluster_arn',
      '',
      "name the host of the cluster: its Data API does not speak PostgreSQL's protocol",
    ],
    ['Data Source', '', 'write Host='],
    ['Initial Catalog', '', 'write Database='],
  ]),
]

/** Names alone: they change neither where we connect, nor as whom, nor how safely. */
const pools = `
  CancellationTimeout checkout_timeout ConnectionIdleLifetime ConnectionLifetime connection_limit
  ConnectionPruningInterval connectionTimeoutMillis conn_health_checks conn_max_age idle_timeout
  idleTimeoutMillis keepalive loginTimeout max max_connection_lifetime max_idle_connection_lifetime
  MaximumPoolSize max_overflow max_pool_size MinimumPoolSize min_pool_size NoResetOnClose pgbouncer pool
  pooling pool_max_conns pool_min_conns pool_pre_ping pool_recycle pool_size pool_timeout reaping_frequency
  SocketReceiveBufferSize SocketSendBufferSize socket_timeout tcpKeepAlive TcpKeepAliveInterval
  TcpKeepAliveTime tcpNoDelay timeout`
const statements = `
  adaptiveFetch AutoPrepareMinUsages autosave binary_parameters binaryTransfer cancelSignalTimeout
  command_timeout default_query_exec_mode defaultRowFetchSize idle_in_transaction_session_timeout
  lock_timeout MaxAutoPrepare Multiplexing preferQueryMode preparedStatementCacheQueries
  prepared_statement_cache_size preparedStatementCacheSizeMiB prepared_statements prepareThreshold
  query_timeout reWriteBatchedInserts statement-cache-capacity statement_cache_size statement_timeout
  stringtype`
const others = `
  allowEncodingChanges ArrayNullabilityMode assumeMinServerVersion charset currentSchema encoding Enlist
  hostRecheckSeconds IncludeErrorDetail jit load_balance LoadTableComposites loggerLevel
  logServerErrorDetail logUnclosedConnections PersistSecurityInfo Protocol readOnly readOnlyMode schema
  search_path ServerCompatibilityMode serverVersion sslResponseTimeout supa topology_keys uselibpqcompat
  UseSslStream wrapperPlugins`

/** In the order of the documentation. */
export const driverParameters: readonly Parameter[] = [
  ...words,
  ...named(pools, 'concerns the pool of your service'),
  ...named(statements, 'concerns the statements of your service'),
  ...named(others, 'changes no check'),
]
