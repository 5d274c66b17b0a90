// Writes HTML in which nothing is markup but what stands in the source: every value is escaped.

/** HTML that is safe to put into HTML. */
export interface Markup {
  readonly html: string
}

type Value = string | number | Markup | readonly Markup[]

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** The tag of a template: values are escaped, also for attributes in quotes; markup in them is kept. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return { html: parts.map((part, place) => part + textOf(values[place] ?? '')).join('') }
}

/** Takes a text of our own for markup as it is: a style, a script. */
export function raw(text: string): Markup {
  return { html: text }
}

function textOf(value: Value): string {
  if (typeof value !== 'object') return String(value).replace(/[&<>"']/g, sign => entities[sign] ?? '')
  return 'html' in value ? value.html : value.map(each => each.html).join('')
}
