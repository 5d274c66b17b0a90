// What poolers and hosted databases answer, word for word as in their sources, and the reason each gets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codedError } from '../../../lib/error.ts'
import type { Reason } from '../../../lib/health/verdict.ts'
import { reasonOf } from '../../../lib/postgres/reason.ts'

/** By product, with the code that it sends; an empty one is a message without a code. */
const messages: [product: string, code: string, expected: Partial<Record<Reason, readonly string[]>>][] = [
  [
    'PgBouncer',
    '08P01',
    {
      auth_failed: [
        'password authentication failed',
        'SASL authentication failed',
        'no such user',
        '"trust" authentication failed',
        'certificate authentication failed',
        'login rejected',
        'unix socket login rejected',
        'server login failed: wrong password type',
        'password authentication failed for user "app"',
        'role "app" does not exist',
        'no pg_hba.conf entry for host "10.0.0.1", user "app", database "shop", no encryption',
        'server login has been failing, cached error: password authentication failed for user "x" (server_login_retry)',
      ],
      no_database: [
        'no such database: shop',
        'database "shop" is disabled',
        'database "shop" does not exist',
      ],
      tls: ['SSL required'],
      pool_exhausted: [
        'no more connections allowed (max_client_conn)',
        'client connections exceeded (max_user_client_connections)',
        'client connections exceeded (max_db_client_connections)',
        'query_wait_timeout',
        'sorry, too many clients already',
        'remaining connection slots are reserved for roles with the SUPERUSER attribute',
        'too many connections for role "app"',
      ],
      unreachable: [
        'server login has been failing, try again later (server_login_retry)',
        'client_login_timeout (server down)',
      ],
      starting_up: ['the database system is starting up'],
      shutting_down: [
        'pooler is shutting down',
        'server shutting down',
        'the database system is shutting down',
      ],
      connection_lost: [
        'server conn crashed?',
        'bouncer config error',
        'unsupported startup parameter: options',
      ],
    },
  ],
  [
    'Supavisor',
    'XX000',
    {
      pool_exhausted: [
        'Max client connections reached',
        '(EMAXCONN) max client connections reached, limit: 200',
        'MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size',
        '(EMAXCONN) max clients reached in session mode - max clients are limited to pool_size: 15',
        'Max pools count reached',
        '(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 60000ms in Transaction mode',
      ],
      auth_failed: [
        'Tenant or user not found',
        '(ENOTFOUND) tenant/user app.abcdef not found',
        '(ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)',
        'Address not in tenant allow_list: {1, 2, 3, 4}',
        'Authentication error, reason: "Invalid format for user or db_name"',
      ],
      tls: ['SSL connection is required', '(ESSLREQUIRED) SSL connection is required for user: app'],
      unknown: ['DbHandler exited', '(EBANNED) tenant is banned: abuse'],
    },
  ],
  ['Supavisor', '08006', { unreachable: ['Failed to connect to database: :econnrefused'] }],
  [
    'Neon',
    'XX000',
    {
      unreachable: [
        'Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.',
        'Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support.',
      ],
      no_database: [
        'Control plane request failed: endpoint is disabled',
        'Control plane request failed: endpoint cannot be found',
      ],
      pool_exhausted: [
        'Too many connections to this endpoint. Please try again later.',
        'Failed to acquire permit to connect to the database. Too many database connection attempts are currently ongoing.',
      ],
      auth_failed: [
        "password authentication failed for user 'app'",
        'This IP address 10.0.0.1 is not allowed to connect to this endpoint. Please add it to the allowed list.',
        'This connection is trying to access this endpoint from a blocked network.',
      ],
      tls: ['connection is insecure (try using `sslmode=require`)'],
      unknown: ['Control plane request failed', 'Internal error'],
    },
  ],
  [
    'pgpool-II',
    'XX000',
    {
      unreachable: ['all backend nodes are down, pgpool requires at least one valid node'],
      auth_failed: ['failed to authenticate with backend using SCRAM', 'SCRAM authentication failed'],
      unknown: ['unable to read data from frontend'],
    },
  ],
  ['pgpool-II', '57000', { unreachable: ['pgpool is not accepting any new connections'] }],
  [
    'RDS Proxy',
    '',
    {
      auth_failed: [
        'This RDS proxy has no credentials for the role app. Check the credentials for this role and try again.',
        'The password that was provided for the role app is wrong.',
        'IAM authentication failed for user app. Check the IAM token for this user and try again.',
        'The IAM authentication failed for the role app. Check the IAM token for this role and try again.',
      ],
      tls: ['This RDS Proxy requires TLS connections.', 'IAM is allowed only with SSL connections.'],
      pool_exhausted: [
        'Timed-out waiting to acquire database connection.',
        'The maximum number of client connections to the proxy exceeded 100.',
        'Rate of connection to proxy exceeded 100.',
      ],
      no_database: ['Request returned an error: database "shop" does not exist'],
    },
  ],
  ['Odyssey', '08P01', { tls: ['odyssey: c1234567890ab: SSL is required', 'SSL is required'] }],
  ['Odyssey', '28000', { tls: ['odyssey: c1234567890ab: TLS connection required'] }],
  ['Odyssey', '08006', { unreachable: ['odyssey: c1: failed to connect to remote server s1'] }],
  ['CockroachDB', '08P01', { tls: ['node is running secure mode, SSL connection required'] }],
  ['Azure', '28000', { tls: ['SSL connection is required. Please specify SSL options and retry.'] }],
  ['PgCat', '58000', { pool_exhausted: ['could not get connection from the pool - AllServersDown'] }],
]

for (const [product, code, expected] of messages) {
  test(`reasonOf() knows the words of ${product} with ${code || 'no code'}`, () => {
    for (const [reason, texts] of Object.entries(expected)) {
      for (const text of texts) assert.equal(reasonOf(codedError(code, text)), reason, text)
    }
  })
}

test('reasonOf() compares the first 500 characters of a message: a long one would block the event loop', () => {
  const long = 'role "'.repeat(40_000)
  assert.equal(reasonOf(codedError('XX000', `no such user ${long}`)), 'auth_failed')
  assert.equal(reasonOf(codedError('XX000', `${long}" does not exist`)), 'unknown')
  assert.equal(reasonOf(codedError('XX000', `${'-'.repeat(490)} too many clients`)), 'unknown')
})
