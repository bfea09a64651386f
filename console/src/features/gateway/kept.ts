import type { KeptRequest } from '@/api/types'

export interface Part {
  name: 'queued' | 'first_token' | 'rest'
  /** Where it begins and how long it is, as shares of the whole. */
  start: number
  length: number
  seconds: number
}

/** What the time of a request went into: waiting in the queue, waiting for the first token, and the rest of the answer. */
export function partsOf({ queued_s, first_token_s, total_s }: Pick<KeptRequest, 'queued_s' | 'first_token_s' | 'total_s'>): Part[] {
  const total = Math.max(total_s, queued_s, first_token_s, 1e-9)
  // The first token is counted from the beginning of the request, the queue included.
  const first = Math.max(first_token_s, queued_s)
  const pieces = [
    { name: 'queued', from: 0, to: queued_s },
    { name: 'first_token', from: queued_s, to: first_token_s > 0 ? first : queued_s },
    { name: 'rest', from: first_token_s > 0 ? first : queued_s, to: total },
  ] as const
  return pieces
    .filter(({ from, to }) => to > from)
    .map(({ name, from, to }) => ({ name, start: from / total, length: (to - from) / total, seconds: to - from }))
}

export const isFine = ({ status }: Pick<KeptRequest, 'status'>) => status < 400

/** Bodies come as JSON where they were JSON; they are shown as text, whatever they hold. */
export const bodyOf = (body: unknown): string => (typeof body === 'string' ? body : body == null ? '' : JSON.stringify(body, null, 2))
