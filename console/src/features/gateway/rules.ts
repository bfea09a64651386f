import type { Field, Values } from './schema'

/** Settings of a guard rule that only one way of looking needs. */
const KINDS: Record<string, string> = {
  patterns: 'regex',
  ignore_case: 'regex',
  words: 'words',
  finds: 'pii',
  classifier: 'classifier',
  labels: 'classifier',
  threshold: 'classifier',
}

/** Whether a field says anything, with what the others of its row say. */
export function relevant({ name }: Field, row: Values): boolean {
  if (!('action' in row && 'kind' in row)) return true
  if (name === 'restore') return row.action === 'mask'
  const kind = KINDS[name]
  return !kind || kind === row.kind
}
