/** Marked places of a text, and how they are drawn and changed. */
export interface Span {
  start: number
  end: number
  label: string
}

export interface Piece {
  start: number
  text: string
  /** The span that covers this piece; of overlapping ones the first. */
  span?: Span
}

/** Cut a text at its spans: every character once, in order. */
export function pieces(text: string, spans: Span[]): Piece[] {
  const cut: Piece[] = []
  let at = 0
  for (const span of spans.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    const start = Math.max(span.start, at)
    if (start >= span.end) continue
    if (start > at) cut.push({ start: at, text: text.slice(at, start) })
    cut.push({ start, text: text.slice(start, span.end), span })
    at = span.end
  }
  if (at < text.length) cut.push({ start: at, text: text.slice(at) })
  return cut
}

/** The server counts characters, JavaScript counts UTF-16 units: they differ after an emoji or a rare character. */
export function toCharacters(text: string, spans: Span[]): Span[] {
  const count = (unit: number) => [...text.slice(0, unit)].length
  return spans.map((span) => ({ ...span, start: count(span.start), end: count(span.end) }))
}

export function toUnits(text: string, spans: Span[]): Span[] {
  const characters = [...text]
  const units = (character: number) => characters.slice(0, character).join('').length
  return spans.map((span) => ({ ...span, start: units(span.start), end: units(span.end) }))
}
