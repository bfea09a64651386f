import type { TokenWeight } from '@/api/types'

export interface WeighedPiece {
  text: string
  weight: number
  /** From -1 (speaks most against the label) to 1 (for it). */
  share: number
  /** The sign to write before the piece; empty where the weight is too weak to be seen, or goes on from the piece before. */
  sign: '+' | '−' | ''
}

/** Weaker than this share of the strongest, nobody sees it. */
const VISIBLE = 0.15
/** What belongs to a word where words have blanks between them: Chinese and its like are read by the character. */
const LETTERS = /^(?!.*[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}])[\p{L}\p{M}\p{N}_]+$/u

/** The text of a part in words, each with what its tokens weigh: tokens may be pieces of words, or single characters. */
export function weighedPieces(text: string, tokens: TokenWeight[], part = 0): WeighedPiece[] {
  const words = wordsOf([...text], tokens.filter((token) => token.part === part))
  const most = Math.max(...words.map(({ weight }) => Math.abs(weight)), Number.MIN_VALUE)
  let last = ''
  return words.map((word) => {
    const share = word.weight / most
    const sign = signOf(word.text, share)
    const shown = sign === last ? '' : sign
    last = sign
    return { ...word, share, sign: shown }
  })
}

function wordsOf(characters: string[], tokens: TokenWeight[]): { text: string; weight: number }[] {
  const words: { text: string; weight: number }[] = []
  let at = 0
  const add = (text: string, weight: number) => {
    const before = words.at(-1)
    const goesOn = !text || (before && LETTERS.test(before.text) && LETTERS.test(text))
    if (before && goesOn) words[words.length - 1] = { text: before.text + text, weight: before.weight + weight }
    else words.push({ text, weight })
  }
  for (const { start, end, weight } of tokens.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    if (start > at) add(characters.slice(at, start).join(''), 0)
    add(characters.slice(Math.max(start, at), end).join(''), weight)
    at = Math.max(at, end)
  }
  if (at < characters.length) add(characters.slice(at).join(''), 0)
  return words
}

function signOf(text: string, share: number): WeighedPiece['sign'] {
  if (Math.abs(share) < VISIBLE || !text.trim()) return ''
  return share > 0 ? '+' : '−'
}
