import { expect, test } from 'vitest'
import { claimOf, markClaim } from '@/components/quote'

const PASSAGE =
  'Annual leave is granted per year. Up to five unused days carry over\nto the next year. Days not taken by then lapse.'

const marked = (text: string, claim: string) =>
  markClaim(text, claim)
    .filter((part) => part.marked)
    .map((part) => part.text.trim())
    .join(' ')

test('the claim of a source is the sentence that cites it', () => {
  expect(claimOf('Five days carry over. [1] The rest lapses [2].', 1)).toContain('Five days carry over')
  expect(claimOf('Five days carry over. [1] The rest lapses [2].', 1)).not.toContain('lapses')
})

test('a Chinese sentence needs no space after its full stop', () => {
  expect(claimOf('年假可结转五天。[1]其余作废。[2]', 2)).not.toContain('五天')
})

test('a source that nothing cites has no claim', () => {
  expect(claimOf('Five days [1].', 2)).toBe('')
})

test('the sentence behind a claim is marked, whatever the line breaks', () => {
  expect(marked(PASSAGE, 'Up to five unused days carry over to the next year. [1]')).toBe(
    'Up to five unused days carry over\nto the next year.',
  )
})

test('a Chinese sentence is marked', () => {
  expect(marked('年假按自然年计算。未休年假最多结转五天。逾期作废。', '未休年假最多可结转五天[1]')).toBe('未休年假最多结转五天。')
})

test('the number of a clause belongs to its sentence', () => {
  expect(marked('1.9 其他。2.1 工牌丢失须在24小时内报告前台。2.2 补办免费。', '工牌丢失须在24小时内报告前台。[1]')).toBe(
    '2.1 工牌丢失须在24小时内报告前台。',
  )
})

test('nothing is lost or added by marking', () => {
  const parts = markClaim(PASSAGE, 'five unused days carry over')

  expect(parts.map((part) => part.text).join('')).toBe(PASSAGE)
})

test('without a claim nothing is marked', () => {
  expect(marked(PASSAGE, '')).toBe('')
})
