import { ApiError } from '@/api/client'

interface Problem {
  place: (string | number)[]
  message: string
}

/** What the server says of single fields, by their place: `rules.0.model`. */
export function problemsOf(error: unknown): Record<string, string> {
  const details = error instanceof ApiError ? (error.details as { problems?: Problem[] } | undefined) : undefined
  const found = (details?.problems ?? []).map(({ place, message }) => {
    const [first, ...rest] = place
    return [(first === 'body' ? rest : place).join('.'), message]
  })
  return Object.fromEntries(found)
}

