import type { LabelAnswer, LabelTask } from '@/api/types'
import { type Span, toUnits } from '@/components/spans'
import { formatPercent, t } from '@/locale'

/** Keys that choose a label: 1 to 9, then 0, then letters that mean nothing else here. */
export const LABEL_KEYS = [...'1234567890', ...'qwertzyxcvbnm']

export interface Choice {
  key: string
  label: string
}

export function choices(labels: string[]): Choice[] {
  return labels.map((label, index) => ({ key: LABEL_KEYS[index] ?? '', label }))
}

/** What the answer to a text says, in few words. */
export function said(answer: LabelAnswer | null | undefined, text: string): string {
  if (!answer) return ''
  if (answer.label !== undefined) return answer.label
  if (answer.labels) return answer.labels.join(', ')
  if (answer.spans) return answer.spans.map(({ start, end, label }) => `${[...text].slice(start, end).join('')} (${label})`).join(', ')
  if (answer.text !== undefined) return answer.text
  if (answer.choice !== undefined) return t(`label.preference.${answer.choice}`)
  if (answer.good !== undefined) return t(answer.good ? 'label.rating.good' : 'label.rating.bad')
  if (answer.score === undefined) return ''
  return answer.score === 1 ? t('label.pair.same') : answer.score === 0 ? t('label.pair.different') : formatPercent(answer.score)
}

/** The spans to begin with: those given before, else the model's. */
export function givenSpans(task: LabelTask): Span[] {
  const answer = task.answers[0]?.answer ?? task.prediction?.answer
  return toUnits(task.text, answer?.spans ?? [])
}

export interface Message {
  role: string
  content: string
}

export function messagesOf(task: LabelTask): Message[] {
  return (task.content.messages as Message[] | undefined) ?? []
}
