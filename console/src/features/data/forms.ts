import { t } from '@/locale'

export const FORMS = ['text', 'spans', 'pair', 'chat', 'preference', 'rating', 'table'] as const

/** What the rows of a form are, in words. */
export function formName(form: string): string {
  const known = FORMS.find((one) => one === form)
  return known ? t(`data.form.${known}`) : form
}
