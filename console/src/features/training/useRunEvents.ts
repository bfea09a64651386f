import { type MaybeRefOrGetter, onScopeDispose, shallowReadonly, shallowRef, toValue, watch } from 'vue'
import { ApiError, path } from '@/api/client'
import { refresh } from '@/api/queries'
import { stream } from '@/api/stream'
import type { RunEvent } from '@/api/types'
import { useToasts } from '@/composables/useToasts'

const AGAIN_MS = 1500

/**
 * Everything a run has told so far, and then live. The server keeps the events, so a reload starts from the first one
 * and a broken connection goes on after the last one seen.
 */
export function useRunEvents(id: MaybeRefOrGetter<string>, isActive: () => boolean) {
  const events = shallowRef<RunEvent[]>([])
  let control = new AbortController()

  watch(
    [() => toValue(id), isActive],
    ([now, active], [before]) => {
      if (now !== before) events.value = []
      else if (!active) return
      control.abort()
      control = new AbortController()
      void follow(now, control.signal)
    },
    { immediate: true },
  )
  onScopeDispose(() => control.abort())

  async function follow(run: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await receive(run, signal)
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof ApiError && error.status !== 0 && error.status < 500) return useToasts().showError(error)
      }
      void refresh(`/runs${path(run)}`)
      if (!isActive()) return
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    }
  }

  /** Collect events and show them once per frame: a replay brings thousands at once. */
  async function receive(run: string, signal: AbortSignal): Promise<void> {
    let waiting: RunEvent[] = []
    const show = () => {
      if (!signal.aborted && waiting.length) events.value = [...events.value, ...waiting]
      waiting = []
    }
    const after = events.value.at(-1)?.seq ?? 0
    for await (const { event: type, data } of stream(`/runs${path(run)}/events?after=${after}`, { signal })) {
      if (type === 'end') break
      if (!waiting.length) requestAnimationFrame(show)
      waiting.push(JSON.parse(data) as RunEvent)
    }
    show()
  }

  return shallowReadonly(events)
}
