import type { VersionComparison } from '@/api/types'

/** Where a difference this unlikely by chance counts as one. */
const CHANCE = 0.05

/** Which of two versions is more often right, if that is more than chance. */
export function verdictOf({ p, difference }: VersionComparison['test']): 'a' | 'b' | 'even' {
  if (p === undefined || p >= CHANCE || !difference) return 'even'
  return difference > 0 ? 'a' : 'b'
}

/** What the two were made with that is not the same: settings first, then where they come from. */
export function differing({ config, lineage }: VersionComparison): { name: string; a: unknown; b: unknown }[] {
  const sides = (of: Record<string, { a: unknown; b: unknown }>) => Object.entries(of).map(([name, one]) => ({ name, ...one }))
  return [...sides(config), ...sides(lineage)]
}

export const settingText = (value: unknown) => (value == null ? '–' : typeof value === 'object' ? JSON.stringify(value) : String(value))
