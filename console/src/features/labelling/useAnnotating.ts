import { computed, type MaybeRefOrGetter, shallowRef, toValue } from 'vue'
import { api, path } from '@/api/client'
import { refresh, useAction } from '@/api/queries'
import type { Items, LabelAnswer, LabelTask, NextLabelTask } from '@/api/types'

/** One annotator at one queue: the row to judge, answering it, passing it on, and going back. */
export function useAnnotating(name: MaybeRefOrGetter<string>) {
  const task = shallowRef<LabelTask>()
  const left = shallowRef(0)
  const isDone = shallowRef(false)
  const isBack = shallowRef(false)
  let began = 0

  const place = (...more: string[]) => path('label-queues', toValue(name), ...more)

  function show(next: LabelTask | undefined, back = false): void {
    task.value = next
    isBack.value = back
    began = performance.now()
  }

  const asking = useAction(() => api.post<NextLabelTask>(place('next')), {
    done: (found) => {
      left.value = found.open
      isDone.value = found.task === null
      show(found.task ?? undefined)
    },
  })
  function next(): void {
    void refresh(`/label-queues${path(toValue(name))}`)
    asking.mutate()
  }

  const answering = useAction(
    ({ id, answer }: { id: string; answer: LabelAnswer }) =>
      api.put(place('tasks', id, 'answer'), { answer, seconds: Math.round((performance.now() - began) / 100) / 10 }),
    { done: next },
  )
  const skipping = useAction((id: string) => api.post(place('tasks', id, 'skip')), { done: next })
  const returning = useAction(() => api.get<Items<LabelTask>>(`${place('mine')}?limit=1`), {
    done: ({ items }) => items[0] && show(items[0], true),
  })
  const isBusy = computed(() => [asking, answering, skipping, returning].some(({ isPending }) => isPending.value))

  function answer(given: LabelAnswer): void {
    if (task.value && !isBusy.value) answering.mutate({ id: task.value.id, answer: given })
  }

  /** What Enter takes: the answer given before, else the model's guess. */
  const proposal = computed(() => task.value?.answers[0]?.answer ?? task.value?.prediction?.answer)

  function skip(): void {
    if (task.value && !isBusy.value) skipping.mutate(task.value.id)
  }

  function back(): void {
    if (!isBusy.value) returning.mutate()
  }

  return { task, left, isDone, isBack, isBusy, proposal, next, answer, skip, back }
}
