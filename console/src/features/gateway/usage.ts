import type { Usage, UsageBy } from '@/api/types'

export const PERIODS = { day: 86_400, week: 7 * 86_400, month: 30 * 86_400, all: 0 } as const
export type Period = keyof typeof PERIODS

export const MEASURES = ['requests', 'tokens', 'cost', 'errors', 'cached'] as const
export type Measure = (typeof MEASURES)[number]

const HOUR_S = 3600
const DAY_S = 86_400
/** So many bars are still told apart. */
const MOST_HOURS = 72

export function measured(row: Usage, measure: Measure): number {
  return measure === 'tokens' ? row.prompt_tokens + row.completion_tokens : row[measure]
}

/** The address of the usage of a period that ends now, in whole hours, so that it is asked once an hour at most. */
export function usagePath(by: UsageBy, period: Period, now: number): string {
  const seconds = PERIODS[period]
  const start = seconds ? Math.floor((now - seconds) / HOUR_S + 1) * HOUR_S : 0
  return `/gateway/usage?${new URLSearchParams({ by, from: String(start) })}`
}

export interface Bar {
  start: number
  end: number
  value: number
}

/** A bar for every hour or day between the first and the last, also where nothing was asked. */
export function barsOf(rows: Usage[], measure: Measure, offsetS: number): Bar[] {
  const hours = rows.map((row) => ({ start: Number(row.name), value: measured(row, measure) })).sort((a, b) => a.start - b.start)
  const [first, last] = [hours[0], hours.at(-1)]
  if (!first || !last) return []
  const step = (last.start - first.start) / HOUR_S < MOST_HOURS ? HOUR_S : DAY_S
  // Days begin at local midnight.
  const floor = (time: number) => (step === HOUR_S ? time : Math.floor((time + offsetS) / DAY_S) * DAY_S - offsetS)
  const begin = floor(first.start)
  const bars = Array.from({ length: Math.floor((floor(last.start) - begin) / step) + 1 }, (_, at) => ({
    start: begin + at * step,
    end: begin + (at + 1) * step,
    value: 0,
  }))
  for (const { start, value } of hours) {
    const bar = bars[Math.floor((floor(start) - begin) / step)]
    if (bar) bar.value += value
  }
  return bars
}

/** Rows added up. */
export function totalOf(rows: Usage[]): Omit<Usage, 'name'> {
  const names = ['requests', 'errors', 'cached', 'prompt_tokens', 'completion_tokens', 'cost'] as const
  const sum = (name: (typeof names)[number]) => rows.reduce((all, row) => all + row[name], 0)
  return Object.fromEntries(names.map((name) => [name, sum(name)])) as unknown as Omit<Usage, 'name'>
}
