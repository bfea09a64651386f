import { shallowRef } from 'vue'
import { ApiError } from '@/api/client'
import { t } from '@/locale'

export interface Toast {
  id: number
  tone: 'ok' | 'err'
  title: string
  text: string
  traceId: string
}

const SECONDS_OK = 4
const SECONDS_ERROR = 12

const toasts = shallowRef<Toast[]>([])
let last = 0

export function useToasts() {
  function show(toast: Omit<Toast, 'id'>, seconds: number): void {
    const id = ++last
    toasts.value = [...toasts.value.slice(-3), { ...toast, id }]
    setTimeout(() => dismiss(id), seconds * 1000)
  }

  function dismiss(id: number): void {
    toasts.value = toasts.value.filter((toast) => toast.id !== id)
  }

  function showDone(title: string, text = ''): void {
    show({ tone: 'ok', title, text, traceId: '' }, SECONDS_OK)
  }

  function showError(error: unknown): void {
    show({ tone: 'err', ...explain(error) }, SECONDS_ERROR)
  }

  return { toasts, dismiss, showDone, showError }
}

/** Say what failed and what to do, in words for the person at the screen. */
export function explain(error: unknown): Pick<Toast, 'title' | 'text' | 'traceId'> {
  if (!(error instanceof ApiError)) return { title: t('error.unexpected'), text: String(error), traceId: '' }
  if (error.status === 0) return { title: t('error.offline'), text: t('error.offline.hint'), traceId: '' }
  return { title: error.message, text: error.hint, traceId: error.traceId }
}
