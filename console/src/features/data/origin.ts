import type { DatasetVersion } from '@/api/types'
import { t } from '@/locale'

const OPS = ['import', 'add', 'filter', 'edit', 'mix', 'augment', 'create', 'erase'] as const

/** How a version came about, in a few words. */
export function howMade({ origin, parent }: DatasetVersion): string {
  const op = OPS.find((one) => one === origin.op)
  if (!op) return ''
  const from = parent === null ? '' : ` · ${t('data.from_version', { number: parent })}`
  return `${t(`data.op.${op}`)}${from}`
}
