export interface Part {
  text: string
  marked: boolean
}

/** Split a passage around the quoted words. White space may differ: documents break lines where quotes don't. */
export function markQuote(text: string, quote: string): Part[] {
  const words = quote.trim().split(/\s+/).filter(Boolean)
  if (!words.length) return [{ text, marked: false }]
  const pattern = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('\\s+')
  const found = new RegExp(pattern).exec(text)
  if (!found) return [{ text, marked: false }]
  const end = found.index + found[0].length
  return [
    { text: text.slice(0, found.index), marked: false },
    { text: found[0], marked: true },
    { text: text.slice(end), marked: false },
  ].filter((part) => part.text)
}
