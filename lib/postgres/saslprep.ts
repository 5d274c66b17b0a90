// Prepares a password for SCRAM as PostgreSQL and psql do (SASLprep, RFC 4013).

/**
 * The password that SCRAM computes with. SASLprep makes unusual spaces usual ones, removes invisible characters, and
 * applies NFKC. Where it fails, the password stays as it is: that is PostgreSQL's own rule (pg_saslprep), on the server
 * when the password is set and in libpq. Not for the other methods of authentication, which send what was typed.
 */
export function saslprep(password: string): string {
  if (/^\p{ASCII}*$/u.test(password)) return password
  const mapped = [...password.replace(spaces, ' ').replace(invisible, '')]
  const classes = classesOf(mapped)
  if (mapped.length === 0 || classes.includes('X')) return password
  const isRightToLeft = classes.startsWith('R') && classes.endsWith('R') && !classes.includes('L')
  if (classes.includes('R') && !isRightToLeft) return password
  return mapped.join('').normalize('NFKC')
}

/** RFC 3454, table C.1.2. U+200B is in both tables: PostgreSQL makes it a space. */
const spaces = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu
/** RFC 3454, table B.1. */
const invisible = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu

/** One letter for each character: X is not allowed, R is right to left, L is left to right, N is none of these. */
function classesOf(characters: readonly string[]): string {
  const runs = [...classes.matchAll(/([XRLN])([0-9a-z]*)/g)].map(([, name = '', count = '']) => ({
    name,
    length: count === '' ? 1 : Number.parseInt(count, 36),
  }))
  return characters.map(character => classOf(character.codePointAt(0) ?? 0)).join('')

  function classOf(codePoint: number): string {
    let end = 0
    for (const { name, length } of runs) {
      end += length
      if (codePoint < end) return name
    }
    return 'X'
  }
}

/**
 * The class of every character from U+0000 to U+10FFFF in Unicode 3.2, run by run, with the length in base 36: X for the
 * tables A.1 and C.1.2 to C.9 of RFC 3454, R for D.1, L for D.2. The test compares it with Python's stringprep.
 */
const classes =
  'XwNxLqN6LqN4XyN9LNaLN4LN5LnNLvNL89XLiXsL2mX2L9N2L7NeL2NeL5N9LXhN1sX2NeXgNgX4N2X4LX3NX5N2LNL3XLXLkX' +
  'L18XL12NX9L3nN4XN2L1xXL12X2L2X6LgXxL12X2L7XL13XLNX6NhXNnXN3RNRN2RNXbRrX5R5XnNXeRX3RXRqX5RbNbXaNdR3N' +
  'R2tN7XN7R2N7X2NaR5XReX2RNRrX3NrX1hR12NbRX9bN2LXL1hX2NL4N8L4NX2LN4X3LaN2LdXgNL2XL8X2L2X2LmXL7XLX3L4X2' +
  'NXL3N4X2L2X2L2NX9LX4L2XL3N2X2LcN2L7X7NX2L6X4L2X2LmXL7XL2XL2XL2X2NXL3N2X4N2X2N3XbL4XLX7LaN2L3XcN2LXL7' +
  'XLXL3XLmXL7XL2XL5X2NL4N5XN2LXL2NX2LXfLX5LaXhNL2XL8X2L2X2LmXL7XL2X2L4X2NL2NLN3X3L2X2L2NX8NLX4L2XL3X4' +
  'LbXhNLXL6X3L3XL4X3L2XLXL2X3L2X3L3X3L8XL3X4L2NL2X3L3XL3NX9LXfLcXeL3XL8XL3XLnXLaXL5X4N3L4XN3XN4X7N2X9' +
  'L2X4LaXiL2XL8XL3XLnXLaXL5X4LNL5XNL2XL2N2X7L2X7LXL2X4LaXiL2XL8XL3XLnXLgX4L3N3X2L3XL3NX9LX8L2X4LaXiL2X' +
  'LiX3LoXL9XLX2L7X3NX4L3N3XNXL8XiL3XcL1cNL2N7X4NL7N8LdX11L2XLX2L2XLX2LX6L4XL7XL3XLXLX2L2XL4NL2N6XN2LX2' +
  'L5XLXN6X2LaX2L2XyLoN2LrNLNLN5LaXLyX6NeLN5LN2L4X4N8XN10XL8NL6X2LX1cLyXL5XL2XLN4LNX3N2LNX6LoN2X1yL12Xa' +
  'L15X2LX4L2iX5L1wX5L2aX6L7XL1rXLXL4X2L7XLXL4X2L13XLXL4X2LvXLXL4X2L7XLXL4X2L7XL7XLnXLvXLXL4X2L7XL13XLj' +
  'X6LsXzL2dXcLhiXaLqN2X3L29XfLdXL4N3XbLiN3L2X9LiN2XcLdXL3XN2XcL1jN7L8NL2NbL7NLX3LaXmNeX2LaX6L2gX8L15N' +
  'X11yL4cX4L2iX6LmX2L6X2L12X2L6X2L8XLXLXLXLvX2L1hXL7NLN3L3XL7N3L4X2L6XN3LdN3X2L3XL7N2XhNoX8NzX4NXoNLX2' +
  'NbLNfXhNiXuNrXlN2LN4LN2LaNLN3L5N6LNLNLNL4NL3NL7NX2L3N5L5N2X7NdL10XcNbqL1xNqLN1lX1dN13XpNbXlN1oL26NlX' +
  'N7oX2N2XN2tX2NaX3bN4XN4X2NsXNzXNXN4X3NXN7X2N1gX3NoXNeXhNsX4NlsXowNqXN2hXcN5yX17N4L3NpL9N7L5N2L5N3X' +
  'L2eX2N4L3NL2iNL4X5L14X4L2mXL14X1kL19X3L10XdNfLsX3L1eNfLcX4L1bXL3bX4L2rX2LvXL52uX22Lg4mX2iLwdX3N1j' +
  'X1fdL8mcX6l8L8eX2L1nX45L7XcL5X5RNRaNRdXR5XRXR2XR2XR30XxRa3N2XgR1sX2R1iX14RdX3NgXgN4XcNnX2NaXNjXN4X4' +
  'R5XR3rX4NwLqN6LqNbL2hX3L6X2L6X2L6X2L3X3N7XN7XltLvXL4XcLrX51L12X2L12X148iL6uXaL13X3L1pN3L9X8N8L2N7Lu' +
  'N4L1cXf6L2dXL1zXL2X2LX2L2X2L4XLcXLXL4XL2XL1tXL4X2L8XL7XLsXL4XL5XLX3L7XL9eX4L82X4N1eX7wgLwyfXg15Lf2' +
  'Xjp42'
