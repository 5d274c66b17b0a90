// Builds HTML from templates and escapes every value that is put into them.

/** Text that is safe to use as HTML. */
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

/** Template tag. Escapes strings and numbers, also for attributes in quotes; inserts `Markup` as it is. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return { html: parts.map((part, place) => part + textOf(values[place] ?? '')).join('') }
}

/** Inserts trusted text without escaping: our own style and script. */
export function raw(text: string): Markup {
  return { html: text }
}

function textOf(value: Value): string {
  if (typeof value !== 'object')
    return String(value).replace(/[&<>"']/g, character => entities[character] ?? '')
  return 'html' in value ? value.html : value.map(each => each.html).join('')
}
