import { computed, reactive, shallowRef, watch } from 'vue'
import { api, path } from '@/api/client'
import { useAction, useGet } from '@/api/queries'
import type { FeedbackItem, FeedbackStatus, Items } from '@/api/types'

/** The queue of opinions: which ones are shown, the chosen one, and judging it. */
export function useInbox() {
  const status = shallowRef<FeedbackStatus>('open')
  const chosen = shallowRef('')
  /** Labels picked here, by item; without one the user's own correction counts. */
  const picked = reactive<Record<string, string>>({})

  const query = useGet<Items<FeedbackItem>>(() => `/feedback?status=${status.value}`)
  const items = computed(() => query.data.value?.items ?? [])
  const index = computed(() =>
    Math.max(
      0,
      items.value.findIndex(({ id }) => id === chosen.value),
    ),
  )
  const item = computed(() => items.value[index.value])
  const label = computed({
    get: () => (item.value ? (picked[item.value.id] ?? proposal(item.value)) : ''),
    set: (text) => {
      if (item.value) picked[item.value.id] = text
    },
  })

  const options = { refreshes: ['/feedback', '/loop', '/models'], done: next }
  const accepting = useAction(({ id, label }: { id: string; label: string }) => api.post(path('feedback', id, 'accept'), { label }), options)
  const rejecting = useAction((id: string) => api.post(path('feedback', id, 'reject')), options)

  watch(status, () => (chosen.value = ''))

  function move(by: number): void {
    const target = items.value[index.value + by]
    if (target) chosen.value = target.id
  }

  function next(): void {
    chosen.value = (items.value[index.value + 1] ?? items.value[index.value - 1])?.id ?? ''
  }

  function accept(): void {
    if (item.value?.status === 'open' && label.value && !accepting.isPending.value) {
      accepting.mutate({ id: item.value.id, label: label.value })
    }
  }

  function reject(): void {
    if (item.value?.status === 'open' && !rejecting.isPending.value) rejecting.mutate(item.value.id)
  }

  return { query, status, items, item, label, chosen, move, accept, reject }
}

/** What the user said is right; a thumb up says that the model's own label is. */
function proposal({ label, rating, message }: FeedbackItem): string {
  return label ?? (rating === 'up' ? (message.intent?.label ?? '') : '')
}
