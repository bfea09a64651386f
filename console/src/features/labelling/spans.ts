import type { Span } from '@/components/spans'

/** Where something begins and ends in a text. */
export type Place = Pick<Span, 'start' | 'end'>

/** The spans with one more. What it overlaps gives way; marking the same place again renames it. */
export function mark(spans: Span[], added: Span): Span[] {
  return [...spans.filter(({ start, end }) => end <= added.start || start >= added.end), added].sort((a, b) => a.start - b.start)
}

/** The selected part of a text without the blanks around it; nothing when only blanks are selected. */
export function trimmed(text: string, start: number, end: number): Place | undefined {
  while (start < end && /\s/.test(text.charAt(start))) start++
  while (end > start && /\s/.test(text.charAt(end - 1))) end--
  return start < end ? { start, end } : undefined
}
