// Removes names, addresses and literals from a server's message, so that the rest may be logged.

/**
 * One line of a server's message that is safe to log: known English words, with … for everything else. Quoted text and
 * what follows `user:`, `database=` and their like goes as well. A name that is itself one of the known words, and has no
 * such mark, can't be told from them. Undefined when fewer than three words are left, as in another language.
 */
export function scrubbed(message: string): string | undefined {
  const plain = message.slice(0, maxLength).replace(quoted, ' … ').replace(named, '$1 … ')
  const words = plain.split(/\s+/).filter(Boolean).map(scrubWord)
  if (words.filter(word => word !== removed).length < 3) return undefined
  return words.join(' ').replace(/…(?: …)+/g, removed)
}

/** Of a longer message only the beginning is read. */
const maxLength = 300
const removed = '…'

/**
 * From the first quote to the last of its kind, or to the end where one is not closed: a name may hold a quote, too. An
 * apostrophe within a word is not a quote.
 */
const quoted =
  /"(?:[^"]*"[^"]*")*[^"]*$|"[\s\S]*"|`[\s\S]*`|`[\s\S]*$|[«„“‘][\s\S]*[»“”’]|(?<![A-Za-z])'[\s\S]*'|(?<![A-Za-z])['«„“‘][\s\S]*$/g

/** A word for something that has a name, the mark behind it, and the name up to the end of the clause. */
const named =
  /\b((?:user|role|database|db|dbname|host|hostname|server|tenant|endpoint|project|cluster|pool|branch|account|name|username|address)s?\s*[:=])[^,;)]*/gi

/** Keeps a known word and a punctuation mark behind it. */
function scrubWord(word: string): string {
  const [, open = '', core = '', close = ''] = /^([([]?)(.*?)([.,:;!?)\]]?)$/.exec(word) ?? []
  const parts = core.toLowerCase().split('-')
  return parts.every(part => words.has(part)) ? open + core + close : removed
}

/** Words of PostgreSQL, poolers and hosted databases, when they refuse a session or end one. */
const words = new Set(
  [
    'a about accept accepted accepting access account acquire active add additional address administrator',
    'after again all allow allowed allows already also an and another any are as at attempt attempts',
    'authenticate authentication authorization available backend backends be because been before being',
    'between block blocked both broken but by cached can canceled canceling cannot certificate certificates',
    'channel check checks class clear client clients close closed closing cluster code command compute',
    'configuration configured conflict connect connected connecting connection connections consistent',
    'contact control corrupted could create credentials currently database databases deadlock denied did',
    'different directory disabled disconnected disk do does done down due during each either empty enabled',
    'encrypted encryption end endpoint enough error errors exceeded exceeds exhausted exist exists exited',
    'expected expired fail failed failing failover failure fatal feature few file files find for format',
    'found free from full function get given group handshake has have header host hosts idle if in',
    'inactivity incorrect increase initialize input instance insufficient internal into invalid ip is it its',
    'large ldap least length level limit limited limits loading lock log login long lost make malformed many',
    'mapping max maximal maximum may memory message method missing mode more most multiple must name need',
    'needs network new no node nodes none not number of off on once one only open operation operations',
    'option options or other out output package packet page pam parameter parameters parse password pending',
    'per permission permitted plan please point pool pooler pools port process processes program project',
    'protocol provided proxy query queue quota rate reach reached read reading ready reason received',
    'reconnect recovery refused region reject rejected relation release remaining remote replica replication',
    'request requested requests require required requires reserved reset resource resources response retries',
    'retry role roles route routing running same sasl scram secret secrets see send sent server servers',
    'service session sessions set settings shared should shut shutdown shutting size slot slots snapshot sni',
    'socket some soon space specified sql ssl standby start started starting startup state statement',
    'statements still stop stopped storage stream such supplied support supported suspended system table',
    'tables temporarily temporary tenant terminate terminated terminating than that the then there this time',
    'timed timeout tls to token too transaction transactions try trying type unable unavailable unencrypted',
    'unexpected unknown unreachable unrecognized unsupported until up upgrade use used user users uses using',
    'valid value version via wait waiting was were while will with within without write writing wrong you',
    'your',
  ].flatMap(line => line.split(' ')),
)
