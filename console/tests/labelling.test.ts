import { expect, test } from 'vitest'
import type { LabelTask } from '@/api/types'
import { pieces, toCharacters, toUnits } from '@/components/spans'
import { choices, givenSpans, LABEL_KEYS, said } from '@/features/labelling/answers'
import { rowsOf } from '@/features/labelling/rows'
import { mark, trimmed } from '@/features/labelling/spans'
import { setLocale } from '@/locale'

const city = { start: 0, end: 5, label: 'city' }

test('every character of a text is drawn once', () => {
  const overlapping = [city, { start: 3, end: 8, label: 'day' }]

  const cut = pieces('Paris on Monday', overlapping)

  expect(cut.map(({ text }) => text).join('')).toBe('Paris on Monday')
  expect(cut.map(({ span }) => span?.label)).toEqual(['city', 'day', undefined])
})

test('a new mark takes the place of what it overlaps', () => {
  expect(mark([city, { start: 9, end: 15, label: 'day' }], { start: 3, end: 8, label: 'x' })).toEqual([
    { start: 3, end: 8, label: 'x' },
    { start: 9, end: 15, label: 'day' },
  ])
})

test('blanks around a selection are not marked', () => {
  expect(trimmed('  Paris ', 0, 8)).toEqual({ start: 2, end: 7 })
  expect(trimmed('a   b', 1, 4)).toBeUndefined()
})

test('places after an emoji count characters on the server and units here', () => {
  const text = '👍 Paris'
  const units = [{ start: 3, end: 8, label: 'city' }]

  expect(toCharacters(text, units)).toEqual([{ start: 2, end: 7, label: 'city' }])
  expect(toUnits(text, toCharacters(text, units))).toEqual(units)
})

test('label keys never mean two things', () => {
  expect(new Set(LABEL_KEYS).size).toBe(LABEL_KEYS.length)
  expect(LABEL_KEYS).not.toContain('s')
  expect(LABEL_KEYS).not.toContain('u')
  expect(choices(['a', 'b']).map(({ key }) => key)).toEqual(['1', '2'])
})

test('spans begin with what was answered, else with the guess', () => {
  const task = { text: 'Paris', content: {}, answers: [], prediction: { answer: { spans: [city] }, score: 1, model: 'm:1' } }

  expect(givenSpans(task as unknown as LabelTask)).toEqual([city])
  expect(givenSpans({ ...task, answers: [{ answer: { spans: [] } }] } as unknown as LabelTask)).toEqual([])
})

test('an answer is said in few words', async () => {
  await setLocale('en')

  expect(said({ labels: ['a', 'b'] }, '')).toBe('a, b')
  expect(said({ spans: [{ start: 2, end: 7, label: 'city' }] }, '👍 Paris')).toBe('Paris (city)')
  expect(said({ choice: 'first' }, '')).toBe('The first is better')
  expect(said({ good: false }, '')).toBe('Bad')
  expect(said({ score: 0 }, '')).toBe('Different')
  expect(said(null, '')).toBe('')
})

test('rows are texts, or JSON objects where a text is not enough', () => {
  expect(rowsOf(' one \n\ntwo', true)).toEqual({ rows: [{ text: 'one' }, { text: 'two' }], wrong: 0 })
  expect(rowsOf('{"text":"a"}\n[1]', false)).toEqual({ rows: [{ text: 'a' }], wrong: 2 })
})
