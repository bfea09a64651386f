import type { ConfusionCell } from '@/api/types'

export interface Matrix {
  labels: string[]
  /** Counts by true label, then by predicted label. */
  counts: Map<string, Map<string, number>>
  /** How many labels there are in all: more than shown where the rest is hardly mixed up. */
  total: number
  right: number
  rows: number
}

/** The matrix of the labels that are mixed up most, in the order of their names; all of them where they are few. */
export function matrixOf(cells: ConfusionCell[], most: number): Matrix {
  const counts = new Map<string, Map<string, number>>()
  const mistakes = new Map<string, number>()
  let right = 0
  let rows = 0
  for (const { label, predicted, count } of cells) {
    const row = counts.get(label) ?? new Map<string, number>()
    counts.set(label, row.set(predicted, count))
    const wrong = label === predicted ? 0 : count
    for (const one of [label, predicted]) mistakes.set(one, (mistakes.get(one) ?? 0) + wrong)
    rows += count
    right += count - wrong
  }
  const ranked = [...mistakes.keys()].sort((a, b) => (mistakes.get(b) ?? 0) - (mistakes.get(a) ?? 0) || a.localeCompare(b))
  return { labels: ranked.slice(0, most).sort((a, b) => a.localeCompare(b)), counts, total: ranked.length, right, rows }
}

/** Of the rows with a label, the share that was given another one. */
export function shareOf(matrix: Matrix, label: string, predicted: string): number {
  const row = matrix.counts.get(label)
  const all = [...(row?.values() ?? [])].reduce((sum, count) => sum + count, 0)
  return all ? (row?.get(predicted) ?? 0) / all : 0
}
