import type { LabelAnswer, LabelTask } from '@/api/types'
import { type Span, toUnits } from '@/components/spans'

/** Keys that choose a label: 1 to 9, then 0, then letters that mean nothing else here. */
export const LABEL_KEYS = [...'1234567890', ...'qwertzyxcvbnm']

export interface Choice {
  key: string
  label: string
}

export function choices(labels: string[]): Choice[] {
  return labels.map((label, index) => ({ key: LABEL_KEYS[index] ?? '', label }))
}

/** What the answer says, in few words. */
export function said(answer: LabelAnswer | null | undefined): string {
  if (!answer) return ''
  if (answer.label !== undefined) return answer.label
  if (answer.labels) return answer.labels.join(', ')
  if (answer.spans) return answer.spans.map(({ label }) => label).join(', ')
  if (answer.text !== undefined) return answer.text
  return String(answer.choice ?? answer.score ?? answer.good ?? '')
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
