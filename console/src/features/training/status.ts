import type { Run, Study } from '@/api/types'
import { type Key, t } from '@/locale'

export const TONES = {
  queued: 'plain',
  running: 'run',
  stopping: 'run',
  succeeded: 'ok',
  failed: 'err',
  stopped: 'warn',
} as const

export const TRIAL_TONES = { running: 'run', complete: 'ok', pruned: 'plain', failed: 'err' } as const

export const isActive = (run: Run | undefined) => run?.status === 'queued' || run?.status === 'running'

export const isSearching = (study: Study | undefined) => study !== undefined && ['queued', 'running', 'stopping'].includes(study.status)

const FORMS = ['text', 'spans', 'pair', 'chat', 'preference', 'rating', 'table'] as const

/** The forms of rows in words. One that a plug-in brought is called as it is. */
export function formNames(forms: string[]): string {
  return forms.map((form) => ((FORMS as readonly string[]).includes(form) ? t(`training.form.${form}` as Key) : form)).join(t('common.comma'))
}
