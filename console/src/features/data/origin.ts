import type { DatasetVersion } from '@/api/types'
import { t } from '@/locale'

const OPS = ['import', 'add', 'filter', 'edit', 'mix', 'augment', 'create', 'erase'] as const

/** What somebody noted about a version, unless it only says again how it came about. */
export function noteOf({ note, origin }: DatasetVersion): string {
  return note === `Imported from ${String(origin.file)}.` ? '' : note
}

/** How a version came about, in a few words. */
export function howMade({ origin, parent }: DatasetVersion): string {
  const op = OPS.find((one) => one === origin.op)
  if (!op) return ''
  const from = parent === null ? '' : ` · ${t('data.from_version', { number: parent })}`
  const file = typeof origin.file === 'string' ? ` · ${origin.file}` : ''
  return `${t(`data.op.${op}`)}${file}${from}`
}
