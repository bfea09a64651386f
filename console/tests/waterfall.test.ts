import { expect, test } from 'vitest'
import type { Span, Trace } from '@/api/types'
import { barsOf } from '@/features/traces/waterfall'

const span = (id: string, started_at: number, ended_at: number | null, parent_id: string | null = null) =>
  ({ id, started_at, ended_at, parent_id }) as Span

const trace = (...spans: Span[]) => ({ started_at: 100, duration_ms: 1000, spans }) as Trace

test('spans stand in the order of time, children below their parents', () => {
  const bars = barsOf(trace(span('b', 100.5, 101), span('a', 100, 100.4), span('a1', 100.1, 100.2, 'a')))

  expect(bars.map((bar) => [bar.span.id, bar.depth])).toEqual([
    ['a', 0],
    ['a1', 1],
    ['b', 0],
  ])
})

test('a bar lies where its step ran', () => {
  const [bar] = barsOf(trace(span('a', 100.25, 100.75)))

  expect(bar?.start).toBeCloseTo(0.25)
  expect(bar?.length).toBeCloseTo(0.5)
  expect(bar?.ms).toBeCloseTo(500)
})

test('a span whose parent is unknown is not lost', () => {
  expect(barsOf(trace(span('a', 100, 101, 'gone')))).toHaveLength(1)
})

test('a span that has not ended has no length', () => {
  expect(barsOf(trace(span('a', 100.5, null)))[0]?.length).toBe(0)
})
