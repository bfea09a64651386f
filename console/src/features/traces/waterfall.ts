import type { Span, Trace } from '@/api/types'

export interface Bar {
  span: Span
  depth: number
  /** Where the bar begins and how long it is, as shares of the whole. */
  start: number
  length: number
  ms: number
}

/** Spans in the order of a reader: by time, children below their parents. */
export function barsOf({ spans, started_at, duration_ms }: Trace): Bar[] {
  const total = Math.max(duration_ms, ...spans.map((span) => (endOf(span) - started_at) * 1000), 0.001)
  const known = new Set(spans.map(({ id }) => id))
  const parentOf = ({ parent_id }: Span) => (parent_id && known.has(parent_id) ? parent_id : '')

  function walk(parent: string, depth: number): Bar[] {
    const own = spans.filter((span) => parentOf(span) === parent).toSorted((a, b) => a.started_at - b.started_at)
    return own.flatMap((span) => {
      const ms = (endOf(span) - span.started_at) * 1000
      const start = Math.max(0, (span.started_at - started_at) * 1000) / total
      return [{ span, depth, start, length: Math.min(ms / total, 1 - start), ms }, ...walk(span.id, depth + 1)]
    })
  }

  return walk('', 0)
}

const endOf = (span: Span) => span.ended_at ?? span.started_at
