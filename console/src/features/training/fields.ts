import type { Recipe, SchemaField } from '@/api/types'

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

export interface FlagField {
  kind: 'flag'
}

export interface TextField {
  kind: 'text'
  longest: number | undefined
}

export type Field = (NumberField | ChoiceField | FlagField | TextField) & { name: string; default: unknown }
export type Config = Record<string, string | number | boolean>

/** What a form needs to know of one setting. An optional setting is a choice between a type and null. */
export function fieldOf(name: string, schema: SchemaField): Field {
  const set = schema.anyOf?.find((one) => one.type !== 'null') ?? schema
  const known = { name, default: schema.default }
  if (set.enum) return { ...known, kind: 'choice', options: set.enum }
  if (set.type === 'boolean') return { ...known, kind: 'flag' }
  if (set.type !== 'integer' && set.type !== 'number') return { ...known, kind: 'text', longest: set.maxLength }
  const step = set.type === 'integer' ? 1 : 'any'
  return { ...known, kind: 'number', step, min: set.minimum ?? set.exclusiveMinimum, max: set.maximum ?? set.exclusiveMaximum }
}

/** The settings that every recipe shares which trains step by step. */
const OF_THE_LOOP = new Set([
  'epochs',
  'batch_size',
  'learning_rate',
  'weight_decay',
  'warmup',
  'schedule',
  'clip_norm',
  'accumulate',
  'patience',
  'precision',
  'ema',
  'gradient_checkpointing',
])

const ESSENTIAL = 4

/** Whether a recipe trains step by step, so that it can be watched, searched and shared among processes. */
export const isLooped = (recipe: Recipe) => 'clip_norm' in (recipe.settings.properties ?? {})

/** The settings of a recipe: those that matter most, its others, and those of the loop. */
export function groupsOf(recipe: Recipe): Record<'essential' | 'own' | 'loop', Field[]> {
  const fields = Object.entries(recipe.settings.properties ?? {}).map(([name, schema]) => fieldOf(name, schema))
  const isShared = (field: Field) => isLooped(recipe) && OF_THE_LOOP.has(field.name)
  const own = fields.filter((field) => !isShared(field))
  return { essential: own.slice(0, ESSENTIAL), own: own.slice(ESSENTIAL), loop: fields.filter(isShared) }
}

/** The settings with one changed: what is empty or as the recipe has it is left out. */
export function changed(config: Config, field: Field, value: string | boolean): Config {
  const { [field.name]: _, ...others } = config
  if (value === '' || value === field.default) return others
  return { ...others, [field.name]: field.kind === 'number' ? Number(value) : value }
}

const ENDINGS: Record<string, string> = {
  classify: 'intent',
  tag: 'tagger',
  embed: 'embedder',
  rerank: 'reranker',
  sft: 'chat',
  tabular: 'table',
}

/** The name of a model, unless another is given. */
export const nameFor = (recipe: string, dataset: string) => (dataset ? `${dataset}-${ENDINGS[recipe] ?? recipe}` : '')

/** A setting as a program would write it in a shell. */
export const settingText = (value: unknown) => (/^[\w.,:/+-]+$/.test(String(value)) ? String(value) : `'${String(value).replaceAll("'", `'\\''`)}'`)
