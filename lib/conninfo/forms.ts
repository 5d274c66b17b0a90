// Reads the forms in which a database is written (URL, keywords, .NET) into names and values.
//
// form     = url | keywords | dotnet, with spaces, quotes or `export DATABASE_URL=` around it
// url      = [`jdbc:` | `r2dbc:`] scheme [`+` driver] `://` [login `@`] hosts [`/` database] [`?` name `=` value {`&` …}]
// login    = user [`:` password]; the last @ ends it, so a password may hold what can't be mistaken
// hosts    = host [`:` port] {`,` host [`:` port]}; host = name | `[` IPv6 `]` | %2Fdirectory | @abstract
// keywords = name `=` value {space name `=` value}; value = word | 'text'; a backslash escapes the next character
// dotnet   = name `=` value {`;` name `=` value} [`;`]; value = text | "text" | 'text'; a doubled quote is one
import type { Result } from '../error.ts'
import type { Form } from './pair.ts'
import { readPairs } from './pairs.ts'
import { readUrl } from './url.ts'

/** Reads a text in any of the forms. A fault is the rest of a sentence that begins with the name of the setting. */
export function readForm(text: string): Result<Form> {
  const bare = unwrap(text).replace(/^(jdbc:postgresql:)(?!\/\/)\/?/i, '$1///')
  const fault = faultOfKind(bare)
  if (fault !== undefined) return { faults: [fault] }
  const [start, java, driver] = scheme.exec(bare) ?? []
  if (start === undefined) return readPairs(bare)
  const dialect = java ? 'jdbc' : driver ? 'sqlalchemy' : 'libpq'
  return readUrl(bare.slice(start.length), dialect)
}

const scheme =
  /^(?:db\+)?(jdbc:|r2dbc:(?:pool:)?)?(?:postgres(?:ql)?|postgis|psql|pgsql|pdo[-_]pgsql|ecto|cockroach(?:db)?|crdb-postgres|pgx[45]?|timescale(?:db|gis)?)(\+[\w.-]+)?:\/\//i

const otherKinds =
  /^(?:jdbc:|r2dbc:)?(mysql2?|mariadb|sqlite3?|mongodb|redis|rediss|mssql|sqlserver|oracle|clickhouse|libsql|file|https?|redshift|duckdb|h2|amqp)(?:\+[\w.]+)*:/i

/** What is left around a value that was copied out of a file or a shell. */
function unwrap(text: string): string {
  const bare = text
    .trim()
    .replace(/^psql\s+(?=["']?[a-z]+:\/\/)/, '')
    .replace(/^(?:export\s+)?(?:DATABASE_URL\s*=|[A-Z_][A-Z0-9_]*\s*=(?=\s*["']?[a-z][\w+.-]*:))\s*/, '')
    .replace(/^(["'`])(.*)\1;?$/s, '$2')
  return bare === text ? text : unwrap(bare)
}

/** Names what the text is instead, from lists of ours: nothing of the text is repeated. */
function faultOfKind(text: string): string | undefined {
  const isUrl = /^[a-z][\w+.:-]*:[\\/]/i.test(text)
  if (/^prisma(\+postgres)?:/i.test(text)) {
    return "is a URL of Prisma Accelerate, which PostgreSQL's protocol does not speak: use the database's own URL (DIRECT_URL)"
  }
  const other = otherKinds.exec(text)?.[1]
  if (other) return `is a URL for ${other.toLowerCase()}, not for PostgreSQL: it must begin with postgres://`
  if (/^\$(\w+|\{.*\})$/s.test(text))
    return 'is the name of a variable that was never filled in: write its value'
  if (/^\{\s*"/.test(text)) return 'is JSON: write a URL, postgres://user:password@host:5432/database'
  if (isUrl && /\$\{|\{\{|<%|#\{/.test(text)) {
    return 'holds a variable in braces that was never filled in: write its value (in a password, { is %7B)'
  }
  if (/^[a-z][\w+.:-]*:(\\|\/(?!\/))/i.test(text) && !/^jdbc:/i.test(text)) {
    return 'must have two slashes after its scheme: postgres://user:password@host:5432/database'
  }
  if (isUrl && !scheme.test(text)) return 'must begin with postgres:// or postgresql://'
  return undefined
}
