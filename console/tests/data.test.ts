import { expect, test } from 'vitest'
import { ApiError } from '@/api/client'
import type { Augmenter } from '@/api/types'
import { plainFields, settingsOf } from '@/features/data/augmenting'
import { commandOf, nameOf, unmapped } from '@/features/data/importing'

const typo = {
  name: 'typo',
  forms: ['text'],
  settings: {
    properties: { rate: { type: 'number', default: 0.06 }, model: { type: 'string' }, slots: { type: 'object' } },
    required: ['model'],
  },
  texts: {},
} as unknown as Augmenter

test('only settings that fit on one line are asked for', () => {
  expect(plainFields(typo)).toEqual([
    { name: 'rate', isNumber: true, isRequired: false, standard: '0.06' },
    { name: 'model', isNumber: false, isRequired: true, standard: '' },
  ])
})

test('what was not filled in is left to the server', () => {
  expect(settingsOf(typo, { rate: '0.2', model: '' })).toEqual({ rate: 0.2 })
})

test('a file whose columns have unknown names can still be mapped', () => {
  const refused = new ApiError(422, { error: { message: 'There is no column the text.', details: { columns: ['q', 'a'], roles: ['text', 'label'] } } })

  expect(unmapped(refused)).toEqual({ columns: ['q', 'a'], roles: ['text', 'label'] })
  expect(unmapped(new ApiError(500, {}))).toBeUndefined()
})

test('a dataset is named like its file, as far as its name may be so', () => {
  expect(nameOf('Help desk (final).csv')).toBe('help-desk-final')
  expect(nameOf('_v1.2.jsonl')).toBe('v1.2')
  expect(nameOf('意图.csv')).toBe('')
})

test('the command imports what the dialog would', () => {
  const chosen = { name: 'faq', form: 'text', format: '', skipBadRows: true }

  expect(commandOf('faq.csv', chosen, { text: 'q', label: 'a' })).toBe(
    'inhouse data import faq.csv --name faq --form text --skip-bad-rows --map text=q --map label=a',
  )
})
