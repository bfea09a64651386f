import { t } from '@/locale'

const KNOWN = [
  ...(['text', 'label', 'spans', 'other', 'score', 'negatives', 'messages', 'answer', 'chosen', 'rejected', 'good'] as const),
  ...(['system', 'user', 'assistant', 'tool', 'features', 'split', 'source', 'meta'] as const),
]

/** What a part of a row is called: a column of an import, or who speaks in a conversation. */
export function roleName(role: string): string {
  const known = KNOWN.find((one) => one === role)
  return known ? t(`data.role.${known}`) : role
}
