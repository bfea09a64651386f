import { computed, type MaybeRefOrGetter, shallowRef, toValue } from 'vue'
import { api, path } from '@/api/client'
import { refresh, useAction } from '@/api/queries'
import type { Items, LabelAnswer, LabelTask, NextLabelTask } from '@/api/types'
import { useToasts } from '@/composables/useToasts'
import { t } from '@/locale'

/** What this annotator said of a row; a row that was passed on has an empty answer. */
function answerGiven(task: LabelTask | undefined): LabelAnswer | undefined {
  const answer = task?.answers[0]?.answer
  return answer && Object.keys(answer).length ? answer : undefined
}

/** One annotator at one queue: the row to judge, answering it, passing it on, and going back. */
export function useAnnotating(name: MaybeRefOrGetter<string>) {
  const task = shallowRef<LabelTask>()
  const left = shallowRef(0)
  const isDone = shallowRef(false)
  const isBack = shallowRef(false)
  let began = 0
  /** How many answers back the shown row is: 1 is the last one. */
  let depth = 0

  const place = (...more: string[]) => path('label-queues', toValue(name), ...more)

  function show(next: LabelTask | undefined, back = 0): void {
    task.value = next
    depth = back
    isBack.value = back > 0
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
  const returning = useAction((back: number) => api.get<Items<LabelTask>>(`${place('mine')}?limit=${back}`), {
    done: ({ items }) => (items[depth] ? show(items[depth], depth + 1) : useToasts().showDone(t('label.back.none'))),
  })
  const isBusy = computed(() => [asking, answering, skipping, returning].some(({ isPending }) => isPending.value))

  function answer(given: LabelAnswer): void {
    if (task.value && !isBusy.value) answering.mutate({ id: task.value.id, answer: given })
  }

  /** What Enter takes: the answer given before, else the model's guess. */
  const proposal = computed(() => answerGiven(task.value) ?? task.value?.prediction?.answer)

  function skip(): void {
    if (task.value && !isBusy.value) skipping.mutate(task.value.id)
  }

  function back(): void {
    if (!isBusy.value) returning.mutate(depth + 1)
  }

  return { task, left, isDone, isBack, isBusy, proposal, next, answer, skip, back }
}
