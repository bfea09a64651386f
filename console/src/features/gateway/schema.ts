import type { JsonSchema } from '@/api/types'

/** What a form needs to know to draw one value. */
export type Shape =
  | { kind: 'flag' }
  | { kind: 'number'; step: number | 'any'; min?: number; max?: number }
  | { kind: 'text'; max?: number }
  | { kind: 'choice'; options: string[] }
  | { kind: 'choices'; options: string[] }
  | { kind: 'words' }
  | { kind: 'rows'; of: Field[] }
  | { kind: 'group'; of: Field[] }
  | { kind: 'map'; of: Shape }
  | { kind: 'json' }

export interface Field {
  name: string
  title: string
  description: string
  shape: Shape
  isRequired: boolean
  /** Whether it may be left out altogether: null in JSON. */
  isOptional: boolean
  /** What holds when nothing is said. */
  standard: unknown
}

export type Values = Record<string, unknown>

/** A schema that holds itself ends here, and is edited as JSON below. */
const DEPTH = 5

/** The fields of an object's schema. */
export function fieldsOf(schema: JsonSchema, root: JsonSchema = schema, depth = 0): Field[] {
  return Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const found = resolved(property, root)
    const set = found.anyOf?.find((one) => one.type !== 'null') ?? found
    const isOptional = found.anyOf?.some((one) => one.type === 'null') ?? false
    const many = (found.anyOf?.filter((one) => one.type !== 'null').length ?? 1) > 1
    const shape: Shape = many ? { kind: 'json' } : shapeOf(set, root, depth)
    return {
      name,
      title: found.title ?? name,
      description: property.description ?? found.description ?? '',
      shape,
      isRequired: schema.required?.includes(name) ?? false,
      isOptional,
      standard: found.default !== undefined ? found.default : isOptional ? null : emptyOf(shape),
    }
  })
}

function shapeOf(schema: JsonSchema, root: JsonSchema, depth: number): Shape {
  const found = resolved(schema, root)
  if (depth > DEPTH) return { kind: 'json' }
  if (found.enum) return { kind: 'choice', options: found.enum }
  switch (found.type) {
    case 'boolean':
      return { kind: 'flag' }
    case 'integer':
    case 'number':
      return numberOf(found)
    case 'string':
      return { kind: 'text', ...(found.maxLength === undefined ? {} : { max: found.maxLength }) }
    case 'array':
      return listOf(resolved(found.items ?? {}, root), root, depth)
    case 'object':
      return objectOf(found, root, depth)
    default:
      return { kind: 'json' }
  }
}

function numberOf({ type, minimum, exclusiveMinimum, maximum }: JsonSchema): Shape {
  const min = minimum ?? exclusiveMinimum
  return {
    kind: 'number',
    step: type === 'integer' ? 1 : 'any',
    ...(min === undefined ? {} : { min }),
    ...(maximum === undefined ? {} : { max: maximum }),
  }
}

function listOf(item: JsonSchema, root: JsonSchema, depth: number): Shape {
  if (item.enum) return { kind: 'choices', options: item.enum }
  if (item.type === 'string') return { kind: 'words' }
  return item.properties ? { kind: 'rows', of: fieldsOf(item, root, depth + 1) } : { kind: 'json' }
}

function objectOf(schema: JsonSchema, root: JsonSchema, depth: number): Shape {
  if (schema.properties) return { kind: 'group', of: fieldsOf(schema, root, depth + 1) }
  if (typeof schema.additionalProperties !== 'object') return { kind: 'json' }
  return { kind: 'map', of: shapeOf(schema.additionalProperties, root, depth + 1) }
}

/** Follow a reference to where the schema lies; what stands beside the reference counts more. */
function resolved(schema: JsonSchema, root: JsonSchema): JsonSchema {
  const name = schema.$ref?.split('/').at(-1)
  if (!name) return schema
  const { $ref: _, ...beside } = schema
  return { ...root.$defs?.[name], ...beside }
}

/** The value that says nothing. */
export function emptyOf(shape: Shape): unknown {
  switch (shape.kind) {
    case 'flag':
      return false
    case 'number':
      return shape.min ?? 0
    case 'text':
      return ''
    case 'choice':
      return shape.options[0] ?? ''
    case 'group':
      return standards(shape.of)
    case 'map':
      return {}
    case 'json':
      return null
    default:
      return []
  }
}

/** An object in which every field has its standard value. */
export function standards(fields: Field[]): Values {
  return Object.fromEntries(fields.map(({ name, standard }) => [name, copy(standard)]))
}

/** Only what differs from the standards, so that later releases may choose better ones. */
export function changes(values: Values, fields: Field[]): Values {
  const known = new Map(fields.map((field) => [field.name, field]))
  const told = Object.entries(values).flatMap(([name, value]): [string, unknown][] => {
    const field = known.get(name)
    if (!field) return [[name, value]]
    const slim = slimmed(value, field.shape)
    return !field.isRequired && same(slim, slimmed(field.standard, field.shape)) ? [] : [[name, slim]]
  })
  return Object.fromEntries(told)
}

function slimmed(value: unknown, shape: Shape): unknown {
  if (shape.kind === 'rows' && Array.isArray(value)) return value.map((row) => changes(row as Values, shape.of))
  if (shape.kind === 'group' && isObject(value)) return changes(value, shape.of)
  if (shape.kind === 'map' && isObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, slimmed(one, shape.of)]))
  }
  return value
}

const isObject = (value: unknown): value is Values => typeof value === 'object' && value !== null && !Array.isArray(value)
const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other)
export const copy = <T>(value: T): T => (value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T))

/** The words of a text: one a line, or with commas between them. */
export const wordsOf = (text: string): string[] =>
  text
    .split(/[\n,，]/)
    .map((word) => word.trim())
    .filter(Boolean)

/** What lists of long patterns are: one a line, commas belong to them. */
export const linesOf = (text: string): string[] => text.split('\n').filter((line) => line.trim())
