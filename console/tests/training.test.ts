import { expect, test } from 'vitest'
import type { Recipe, RunComparison, RunEvent, Study, Trial } from '@/api/types'
import { align } from '@/components/series'
import { bestOf, comparedSeries, curve, formatShort, warningsOf } from '@/features/training/curves'
import { changed, fieldOf, groupsOf, isLooped, nameFor, settingText } from '@/features/training/fields'
import { bestTrial, ranked } from '@/features/training/trials'

const event = (seq: number, type: string, more: Partial<RunEvent>): RunEvent => ({ seq, ts: 0, type, ...more })

test('a curve takes its figure from its kind of event', () => {
  const events = [
    event(1, 'started', {}),
    event(2, 'step', { step: 10, loss: 2 }),
    event(3, 'eval', { step: 10, loss: 2.5, accuracy: 0.4 }),
  ]

  expect(curve(events, 'step', 'loss')).toEqual([{ x: 10, y: 2 }])
  expect(curve(events, 'eval', 'accuracy')).toEqual([{ x: 10, y: 0.4 }])
})

test('curves over different steps share one axis', () => {
  const train = { name: 'train', color: 'accent', points: [{ x: 1, y: 9 }, { x: 3, y: 7 }] }
  const dev = { name: 'dev', color: 'accent', points: [{ x: 2, y: 8 }] }

  expect(align([train, dev])).toEqual([
    [1, 2, 3],
    [9, null, 7],
    [null, 8, null],
  ])
})

test('a step told again after a resume counts once, as told last', () => {
  const points = [{ x: 1, y: 9 }, { x: 2, y: 8 }, { x: 2, y: 6 }]

  expect(align([{ name: 'train', color: 'accent', points }])).toEqual([
    [1, 2],
    [9, 6],
  ])
})

test('a setting that may be empty is a field of its own type', () => {
  const field = fieldOf('epochs', { anyOf: [{ type: 'integer', minimum: 1, maximum: 1000 }, { type: 'null' }], default: null })

  expect(field).toEqual({ name: 'epochs', default: null, kind: 'number', step: 1, min: 1, max: 1000 })
})

test('a setting with named values is a choice', () => {
  expect(fieldOf('device', { enum: ['cpu', 'cuda'], default: 'cpu' })).toMatchObject({ kind: 'choice', options: ['cpu', 'cuda'] })
})

const recipe = (properties: Record<string, object>): Recipe => ({ name: 'own', forms: ['text'], missing: '', texts: {} as Recipe['texts'], settings: { properties } })
const LOOPED = recipe({
  epochs: { anyOf: [{ type: 'integer' }, { type: 'null' }], default: null },
  clip_norm: { type: 'number', default: 1 },
  base: { anyOf: [{ type: 'string', maxLength: 9 }, { type: 'null' }], default: null },
  crf: { type: 'boolean', default: true },
  a: { type: 'integer', default: 1 },
  b: { type: 'integer', default: 1 },
  c: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1, default: 0.5 },
})

test('what is special to a recipe comes first, what all loops share is apart', () => {
  const { essential, own, loop } = groupsOf(LOOPED)

  expect([essential, own, loop].map((fields) => fields.map(({ name }) => name))).toEqual([['base', 'crf', 'a', 'b'], ['c'], ['epochs', 'clip_norm']])
  expect(essential.map(({ kind }) => kind)).toEqual(['text', 'flag', 'number', 'number'])
  expect(own[0]).toMatchObject({ min: 0, max: 1, step: 'any' })
})

test('a recipe without a loop keeps its settings together', () => {
  const table = recipe({ learning_rate: { type: 'number', default: 0.1 } })

  expect(isLooped(table)).toBe(false)
  expect(groupsOf(table).essential.map(({ name }) => name)).toEqual(['learning_rate'])
})

test('only what differs from the defaults is sent', () => {
  const { essential } = groupsOf(LOOPED)
  const [base, crf, a] = essential as [never, never, never]

  expect(changed({}, a, '7')).toEqual({ a: 7 })
  expect(changed({ a: 7 }, a, '')).toEqual({})
  expect(changed({}, crf, false)).toEqual({ crf: false })
  expect(changed({ crf: false }, crf, true)).toEqual({})
  expect(changed({ crf: false }, base, '/models/x')).toEqual({ crf: false, base: '/models/x' })
})

test('a model is called after its dataset and what it does', () => {
  expect(nameFor('classify', 'faq')).toBe('faq-intent')
  expect(nameFor('dpo', 'faq')).toBe('faq-dpo')
  expect(nameFor('tag', '')).toBe('')
})

test('a setting with blanks or quotes is quoted for the shell', () => {
  expect(settingText("ask 'it'")).toBe("'ask '\\''it'\\'''")
  expect(settingText(0.5)).toBe('0.5')
})

test('warnings count once, and the best evaluation is by accuracy where there is one', () => {
  const events = [
    event(1, 'warning', { step: 1, message: 'hot' }),
    event(2, 'warning', { step: 3, message: 'hot' }),
    event(3, 'eval', { step: 1, loss: 1, accuracy: 0.5 }),
    event(4, 'eval', { step: 2, loss: 2, accuracy: 0.7 }),
    event(5, 'eval', { step: 3, loss: 0.5, accuracy: 0.7 }),
  ]

  expect(warningsOf(events)).toEqual([{ step: 3, message: 'hot' }])
  expect(bestOf(events)?.step).toBe(2)
  expect(bestOf([event(1, 'eval', { step: 1, loss: 2 }), event(2, 'eval', { step: 2, loss: 1 })])?.step).toBe(2)
})

test('figures of an axis stay short', () => {
  expect([0, 0.00003, 0.25, 1234.5].map(formatShort)).toEqual(['0', '3.0e-5', '0.25', '1,235'])
})

test('a compared run without an evaluation is shown by its own loss', () => {
  const curves = {
    r1: { train: { step: [1, 2], loss: [3, 2] }, dev: { step: [2], loss: [2.5] } },
    r2: { train: { step: [1], loss: [4] }, dev: {} },
  }
  const comparison = { runs: [{ id: 'r1' }, { id: 'r2' }, { id: 'r3' }], curves } as unknown as RunComparison

  expect(comparedSeries(comparison, 'loss').map(({ name, points, dots }) => [name, points, dots])).toEqual([
    ['A · r1', [{ x: 2, y: 2.5 }], true],
    ['B · r2', [{ x: 1, y: 4 }], false],
  ])
  expect(comparedSeries(comparison, 'accuracy')).toEqual([])
})

const trial = (number: number, state: Trial['state'], value: number | null): Trial => ({ number, run_id: `r${number}`, state, value, config: {} })
const study = (objective: Study['objective'], trials: Trial[]) => ({ objective, trials, best_run: null }) as unknown as Study

test('the best trial is one that was trained to its end', () => {
  const trials = [trial(0, 'complete', 0.5), trial(1, 'pruned', 0.9), trial(2, 'running', null), trial(3, 'complete', 0.7)]

  expect(ranked(study('accuracy', trials)).map(({ number }) => number)).toEqual([1, 3, 0, 2])
  expect(bestTrial(study('accuracy', trials))?.number).toBe(3)
  expect(bestTrial(study('loss', trials))?.number).toBe(0)
})
