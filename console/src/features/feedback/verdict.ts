import type { Reason } from '@/api/types'
import { formatNumber, formatPercent } from '@/locale'

const SHARES = ['live_accuracy', 'candidate_accuracy']

/** A finding's figures as they are put into its sentence: shares as percentages, lists and tables by their names. */
export function figuresOf({ figures }: Reason): Record<string, string | number> {
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, write(name, value)]))
}

function write(name: string, value: unknown): string | number {
  if (typeof value === 'number') return SHARES.includes(name) ? formatPercent(value) : formatNumber(value, 3)
  if (Array.isArray(value)) return value.join(', ')
  if (value && typeof value === 'object') return Object.keys(value).join(', ')
  return String(value)
}
