import type { SchemaField } from '@/api/types'

export interface NumberField {
  kind: 'number'
  step: number | 'any'
  min: number | undefined
  max: number | undefined
}

export interface ChoiceField {
  kind: 'choice'
  options: string[]
}

export interface TextField {
  kind: 'text'
}

export type Field = (NumberField | ChoiceField | TextField) & { name: string; default: unknown }

/** What a form needs to know of one setting. An optional setting is a choice between a type and null. */
export function fieldOf(name: string, schema: SchemaField): Field {
  const set = schema.anyOf?.find((one) => one.type !== 'null') ?? schema
  const known = { name, default: schema.default }
  if (set.enum) return { ...known, kind: 'choice', options: set.enum }
  if (set.type !== 'integer' && set.type !== 'number') return { ...known, kind: 'text' }
  const step = set.type === 'integer' ? 1 : 'any'
  return { ...known, kind: 'number', step, min: set.minimum ?? set.exclusiveMinimum, max: set.maximum }
}
