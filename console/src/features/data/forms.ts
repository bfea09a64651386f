import type { DatasetVersion } from '@/api/types'
import { t } from '@/locale'

export const FORMS = ['text', 'spans', 'pair', 'chat', 'preference', 'rating', 'table'] as const

/** What the rows of a form are, in words. */
export function formName(form: string): string {
  const known = FORMS.find((one) => one === form)
  return known ? t(`data.form.${known}`) : form
}

/** The datasets that can be mixed with another: those whose form another has, too. */
export const mixable = (datasets: DatasetVersion[]) => datasets.filter((one) => datasets.some((other) => other !== one && other.form === one.form))
