import { path } from '@/api/client'

export interface Line {
  name: string
  value: string
  /** Where it is shown in the console. */
  to?: string
}

/** What a version was made from, line by line: settings one by one, and links to what the console can show. */
export function linesOf(lineage: Record<string, unknown>): Line[] {
  return Object.entries(lineage).flatMap(([name, value]) =>
    isPlainObject(value)
      ? Object.entries(value).map(([inner, one]) => ({ name: `${name}.${inner}`, value: textOf(one) }))
      : [{ name, value: textOf(value), ...linkOf(name, textOf(value)) }],
  )
}

function linkOf(name: string, value: string): { to?: string } {
  if (name === 'run_id') return { to: `/training${path(value)}` }
  if (name === 'study_id') return { to: `/training/studies${path(value)}` }
  if (name === 'dataset') return { to: `/data${path(value.split('@')[0] ?? '')}` }
  return {}
}

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const textOf = (value: unknown) => (value === null ? '–' : typeof value === 'object' ? JSON.stringify(value) : String(value))
