export interface Part {
  text: string
  marked: boolean
}

/** A dot within a figure or a clause's number, as in 2.1, ends nothing. */
const SENTENCE = /(?:[^.!?。！？；\n]|[.!?](?=\S))*[.!?。！？；\n]*\s*/g
const ALIKE = 0.5
const LETTERS = 3

/** The sentences of an answer that cite source `n`. */
export function claimOf(answer: string, n: number): string {
  const cites = new RegExp(`[[【][^\\]】]*\\b${n}\\b[^\\]】]*[\\]】]`)
  // A citation after the full stop still belongs to the sentence before it.
  const lines = answer.replace(/([.!?。！？；])(\s*(?:[[【][\d,，、;\s]+[\]】]\s*)+)/g, '$2$1\n').split(/\n|(?<=[。！？；])|(?<=[.!?]\s)/)
  return lines.filter((line) => cites.test(line)).join(' ')
}

/** Split a passage so that the sentences which carry the claim are marked. */
export function markClaim(text: string, claim: string): Part[] {
  const wanted = pieces(claim)
  const parts: Part[] = []
  for (const sentence of text.match(SENTENCE) ?? []) {
    if (!sentence) continue
    const own = [...pieces(sentence)]
    const marked = own.length > 0 && own.filter((piece) => wanted.has(piece)).length / own.length >= ALIKE
    const last = parts.at(-1)
    if (last?.marked === marked) last.text += sentence
    else parts.push({ text: sentence, marked })
  }
  return parts
}

/** Runs of neighbouring letters: they work alike for words of English and for Chinese, which has no spaces. */
function pieces(text: string): Set<string> {
  const letters = text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '')
  return new Set(Array.from({ length: Math.max(0, letters.length - LETTERS + 1) }, (_, at) => letters.slice(at, at + LETTERS)))
}
