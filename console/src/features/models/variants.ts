import type { Variant } from '@/api/types'
import { formatBytes, formatNumber, formatPercent, type Key } from '@/locale'
import { VARIANTS } from './kinds'

interface Column {
  name: string
  label: Key
  of: (variant: Variant | undefined) => string
}

function column(name: string, label: Key, format: (value: number) => string): Column {
  return {
    name,
    label,
    of: (variant) => {
      const value = variant?.figures[name]
      return typeof value === 'number' ? format(value) : '–'
    },
  }
}

/** What is measured of every variant. */
export const FIGURES: Column[] = [
  column('accuracy', 'metrics.accuracy', (value) => formatPercent(value)),
  column('agreement', 'models.agreement', (value) => formatPercent(value)),
  column('loss', 'models.loss', (value) => formatNumber(value, 2)),
  column('cpu_ms', 'models.cpu_ms', (value) => formatNumber(value, 2)),
  column('speedup', 'models.speedup', (value) => `${formatNumber(value, 2)} ×`),
  column('memory_mb', 'training.memory', (value) => formatBytes(value * 2 ** 20)),
  column('size_mb', 'models.size', (value) => formatBytes(value * 1e6)),
]

/** Every variant that a kind of model can have, in their order, with what there is of it. */
export function linesOf(kind: string, variants: Variant[]): { name: string; variant: Variant | undefined }[] {
  const names = new Set([...(VARIANTS[kind] ?? []), ...variants.map(({ name }) => name)])
  return [...names].map((name) => ({ name, variant: variants.find((one) => one.name === name) }))
}
