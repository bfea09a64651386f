import type { Augmenter } from '@/api/types'

export interface PlainField {
  name: string
  isNumber: boolean
  isRequired: boolean
  standard: string
}

/** The settings that one line of text can say; templates and lists are for the API and the command line. */
export function plainFields({ settings }: Augmenter): PlainField[] {
  return Object.entries(settings.properties ?? {}).flatMap(([name, schema]) => {
    const isNumber = schema.type === 'number' || schema.type === 'integer'
    if (!isNumber && schema.type !== 'string') return []
    return [{ name, isNumber, isRequired: settings.required?.includes(name) ?? false, standard: String(schema.default ?? '') }]
  })
}

/** Whether all that can be set fits on one line each. */
export const isPlain = (augmenter: Augmenter) => plainFields(augmenter).length === Object.keys(augmenter.settings.properties ?? {}).length

/** What was filled in, as the server takes it. */
export function settingsOf(augmenter: Augmenter, filled: Record<string, string>): Record<string, string | number> {
  const given = plainFields(augmenter).filter(({ name }) => filled[name])
  return Object.fromEntries(given.map(({ name, isNumber }) => [name, isNumber ? Number(filled[name]) : (filled[name] ?? '')]))
}
