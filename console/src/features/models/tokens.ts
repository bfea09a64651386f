import type { TokenWeight } from '@/api/types'

export interface WeighedPiece {
  text: string
  /** From -1 (speaks most against the label) to 1 (for it); none where the text is no token. */
  share?: number
  weight?: number
}

/** The text in pieces: each token with its share of the strongest weight, and what lies between tokens. */
export function weighedPieces(text: string, tokens: TokenWeight[], part = 0): WeighedPiece[] {
  const characters = [...text]
  const places = placesOf(tokens)
  const most = Math.max(...places.map(({ weight }) => Math.abs(weight)), Number.MIN_VALUE)
  const pieces: WeighedPiece[] = []
  let at = 0
  for (const { start, end, weight } of places.filter((place) => place.part === part).toSorted((a, b) => a.start - b.start)) {
    if (end <= at) continue
    if (start > at) pieces.push({ text: characters.slice(at, start).join('') })
    pieces.push({ text: characters.slice(Math.max(start, at), end).join(''), share: weight / most, weight })
    at = end
  }
  if (at < characters.length) pieces.push({ text: characters.slice(at).join('') })
  return pieces
}

/** Tokens that lie at the same place, such as the mark of a word's beginning, speak with one voice. */
function placesOf(tokens: TokenWeight[]): TokenWeight[] {
  const places = new Map<string, TokenWeight>()
  for (const token of tokens) {
    const key = `${token.part} ${token.start} ${token.end}`
    places.set(key, { ...token, weight: token.weight + (places.get(key)?.weight ?? 0) })
  }
  return [...places.values()]
}

/** The signs to write before the pieces: only where a run of one sign begins, for tokens may be single characters. */
export function signsOf(pieces: WeighedPiece[]): ('+' | '−' | '')[] {
  let last = ''
  return pieces.map(({ share }) => {
    const sign = signOf(share)
    const shown = sign === last ? '' : sign
    last = sign
    return shown
  })
}

/** The sign of a weight, where it is strong enough to be seen. */
export function signOf(share: number | undefined): '+' | '−' | '' {
  if (share === undefined || Math.abs(share) < 0.15) return ''
  return share > 0 ? '+' : '−'
}
