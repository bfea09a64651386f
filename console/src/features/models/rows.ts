import { path } from '@/api/client'

export const WHICH = ['wrong', 'right', 'unsure', 'golden', 'all'] as const
export type Which = (typeof WHICH)[number]

const ASKED: Record<Which, Record<string, string>> = {
  wrong: { correct: 'false' },
  right: { correct: 'true' },
  unsure: { known: 'false' },
  golden: { golden: 'true' },
  all: {},
}

interface Wanted {
  which: Which
  text: string
  label: string
  predicted: string
  offset: number
  limit: number
}

/** Where the rows of an evaluation are read that fit a choice; what is empty asks for nothing. */
export function rowsPath(evaluation: string, { which, text, label, predicted, offset, limit }: Wanted): string {
  const given = Object.entries({ text, label, predicted }).filter(([, value]) => value)
  const query = new URLSearchParams({ ...ASKED[which], ...Object.fromEntries(given), limit: String(limit), offset: String(offset) })
  return `/evaluations${path(evaluation)}/rows?${query}`
}
