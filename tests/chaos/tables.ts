// Summarises a chaos run in two tables, for a terminal and for docs/reliability.md.
import type { Campaign } from './campaign.ts'
import { type Exchange, type Fault, type Interval, latenessOf, type Objection } from './judge.ts'

/** All counts, and what each fault did to the answers that overlapped it, in Markdown. */
export function tablesOf(campaign: Campaign, objections: readonly Objection[]): string {
  return `${table(['what', 'how much'], totals(campaign, objections))}\n${table(
    ['fault', 'times', 'seconds', 'what those were told whose wait it touched'],
    rowsOfFaults(campaign.recording),
  )}`
}

function totals({ recording, abandoned, usage }: Campaign, objections: readonly Objection[]): string[][] {
  const { exchanges, statements, connections, faults, pauses, timeoutMs } = recording
  // Not Math.max(...): ten minutes have more answers than a call may have arguments.
  const latest = exchanges.reduce(
    (most, exchange) => Math.max(most, latenessOf(exchange, recording)),
    -timeoutMs,
  )
  const side = latest > 0 ? 'after' : 'before'
  const stalls = pauses.filter(pause => !faults.some(({ from }) => from === pause.from)).map(lengthOf)
  const [answers, open] = [countByAnswer(exchanges), connections.filter(({ closedAt }) => !closedAt)]
  return [
    ['wrong answers, broken promises', number(objections.length)],
    ['faults', number(faults.length)],
    ['answers', number(exchanges.length)],
    ...answers.map(([answer, count]) => [`… ${answer}`, number(count)]),
    ['requests whose client went away', number(abandoned)],
    ['the latest answer', `${Math.abs(latest).toFixed(1)} ms ${side} its deadline (${timeoutMs} ms)`],
    ['statements', number(statements.length)],
    ['connections', `${number(connections.length)}, ${open.length} open at the end`],
    ['descriptors, at the start and the end', usage ? fromTo(usage, 'descriptors') : 'unknown here'],
    ['memory, at the start and the end', usage ? `${fromTo(usage, 'memoryMb')} MB` : 'unknown here'],
    [
      'times this process itself did not run',
      `${stalls.length}, ${Math.round(Math.max(0, ...stalls))} ms at most`,
    ],
  ]
}

function rowsOfFaults({ exchanges, faults }: Campaign['recording']): string[][] {
  const names = [...new Set(faults.map(({ name }) => name))].toSorted()
  return names.map(name => {
    const these = faults.filter(fault => fault.name === name)
    const touched = exchanges.filter(exchange => these.some(fault => touches(fault, exchange)))
    const told = countByAnswer(touched).filter(([answer]) => answer !== 'alive')
    return [
      name,
      number(these.length),
      number(Math.round(these.map(lengthOf).reduce((sum, ms) => sum + ms, 0) / 1_000)),
      told.map(([answer, count]) => `${answer} ${number(count)}`).join(', '),
    ]
  })
}

function touches(fault: Fault, { sentAt, answeredAt }: Exchange): boolean {
  return fault.from <= answeredAt && sentAt <= fault.until
}

function countByAnswer(exchanges: readonly Exchange[]): [answer: string, count: number][] {
  const counts = new Map<string, number>()
  for (const { answer } of exchanges) counts.set(answer, (counts.get(answer) ?? 0) + 1)
  return [...counts].toSorted(([, one], [, other]) => other - one)
}

function table(head: readonly string[], rows: readonly string[][]): string {
  const lines = [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |\n`)
  return lines.join('')
}

function fromTo<Key extends string>(
  { before, after }: Record<'before' | 'after', Record<Key, number>>,
  key: Key,
) {
  return `${before[key]} → ${after[key]}`
}

function lengthOf({ from, until }: Interval): number {
  return until - from
}

function number(value: number): string {
  return value.toLocaleString('en')
}
