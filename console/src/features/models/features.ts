export interface Feature {
  name: string
  isNumber: boolean
  /** A value that it had in the data. */
  example: string
}

/** The features of a table model: from a row of its data, else the names that it was found to rely on. */
export function featuresOf(content: Record<string, unknown> | undefined, importance: Record<string, number> | undefined): Feature[] {
  const row = (content?.features ?? {}) as Record<string, unknown>
  const known = Object.entries(row).map(([name, value]) => ({ name, isNumber: typeof value === 'number', example: String(value ?? '') }))
  return known.length ? known : Object.keys(importance ?? {}).map((name) => ({ name, isNumber: false, example: '' }))
}

/** What was typed, as the model takes it: numbers as numbers, and what is empty not at all. */
export function valuesOf(features: Feature[], typed: Record<string, string>): Record<string, string | number> {
  const given = features.filter(({ name }) => (typed[name] ?? '') !== '')
  return Object.fromEntries(
    given.map(({ name, isNumber }) => {
      const text = String(typed[name])
      const value = Number(text)
      return [name, isNumber && !Number.isNaN(value) ? value : text]
    }),
  )
}

/** How alike two vectors are: 1 in the same direction. */
export function cosine(a: number[], b: number[]): number {
  const dot = (x: number[], y: number[]) => x.reduce((sum, value, at) => sum + value * (y[at] ?? 0), 0)
  const length = Math.sqrt(dot(a, a) * dot(b, b))
  return length ? dot(a, b) / length : 0
}
