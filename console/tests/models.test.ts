import { afterEach, expect, test, vi } from 'vitest'
import type { TokenWeight, Variant } from '@/api/types'
import { headline, figuresOf, formatFigure, outside, overall } from '@/components/metrics'
import { differing, verdictOf } from '@/features/models/comparison'
import { matrixOf, shareOf } from '@/features/models/confusion'
import { cosine, featuresOf, valuesOf } from '@/features/models/features'
import { linesOf as lineageOf } from '@/features/models/lineage'
import { rowsPath } from '@/features/models/rows'
import { weighedPieces } from '@/features/models/tokens'
import { FIGURES, linesOf } from '@/features/models/variants'

afterEach(() => vi.unstubAllGlobals())

const f1 = (value: number) => ({ precision: value, recall: value, f1: value, support: 4 })

test('each kind of model is best known by a figure of its own', () => {
  expect(headline({ accuracy: 0.5, macro_f1: 0.4 })?.value).toBe('50%')
  expect(headline({ accuracy: 0.5, micro: f1(0.75) })).toEqual({ name: 'F1', value: '75%' })
  expect(headline({ loss: 1, perplexity: 2.718 })?.value).toBe('2.72')
  expect(headline({ mae: 1, r2: 0.25 })?.value).toBe('0.25')
  expect(headline({})).toBeUndefined()
})

test('only figures that a model has are shown, in their order', () => {
  expect(figuresOf({ ece: 0.02, accuracy: 0.9, samples: 3, per_class: {} }).map(({ name }) => name)).toEqual(['metrics.accuracy', 'metrics.ece'])
  expect(formatFigure('unknown', 0.01234)).toBe('0.0123')
})

test('a run and a later evaluation say in their own words how well the model knows its limits', () => {
  const run = outside({ oos: { auroc: 0.9, recall: 0.8, in_scope_accuracy_at_threshold: 0.7, threshold: 0.5, count: 9 } })
  const later = outside({ accuracy_at_threshold: 0.7, out_of_scope: { auroc: null, recall: 0.8, count: 9 } })

  expect(run.map(({ value }) => value)).toEqual(['80%', '70%', '0.9', '0.5', '9'])
  expect(later.map(({ value }) => value)).toEqual(['80%', '70%', '9'])
  expect(outside({})).toEqual([])
})

test('spans are counted over all types', () => {
  expect(overall({ micro: f1(0.5), overlap: f1(1) }).map(([, one]) => one.f1)).toEqual([0.5, 1])
})

const CELLS = [
  { label: 'a', predicted: 'a', count: 6 },
  { label: 'a', predicted: 'b', count: 2 },
  { label: 'b', predicted: 'b', count: 8 },
  { label: 'c', predicted: 'c', count: 5 },
]

test('a matrix of many labels keeps those that are mixed up most', () => {
  const matrix = matrixOf(CELLS, 2)

  expect(matrix).toMatchObject({ labels: ['a', 'b'], total: 3, right: 19, rows: 21 })
  expect(shareOf(matrix, 'a', 'b')).toBe(0.25)
  expect(shareOf(matrix, 'b', 'a')).toBe(0)
  expect(shareOf(matrix, 'unknown', 'a')).toBe(0)
})

const token = (text: string, start: number, weight: number, part = 0): TokenWeight => ({ text, start, end: start + [...text].length, weight, part })

test('pieces of words weigh together, and what no token covers stays in the text', () => {
  const pieces = weighedPieces('repair it', [token('rep', 0, 2), token('air', 3, 2), token('it', 7, -4)])

  expect(pieces.map(({ text, weight, share, sign }) => [text, weight, share, sign])).toEqual([
    ['repair', 4, 1, '+'],
    [' ', 0, 0, ''],
    ['it', -4, -1, '−'],
  ])
})

test('a text without blanks is read by the character, its sign written once', () => {
  const pieces = weighedPieces('😀退货', [token('退', 1, 1), token('退', 1, 1), token('货', 2, 2), token('x', 0, 9, 1)])

  expect(pieces.map(({ text, weight, sign }) => [text, weight, sign])).toEqual([
    ['😀', 0, ''],
    ['退', 2, '+'],
    ['货', 2, ''],
  ])
})

test('rows are asked for by what was chosen, and nothing else', () => {
  expect(rowsPath('e 1', { which: 'wrong', text: '', label: 'a&b', predicted: '', offset: 20, limit: 10 })).toBe(
    '/evaluations/e%201/rows?correct=false&label=a%26b&limit=10&offset=20',
  )
})

test('every variant that a kind can have is listed, made or not', () => {
  const int8: Variant = { name: 'int8', status: 'refused', reason: 'It loses too much.', size_bytes: 1, figures: { loss: 2.5, speedup: 3 }, created_at: 0 }
  const lines = linesOf('classify', [int8])

  expect(lines.map(({ name }) => name)).toEqual(['onnx', 'int8', 'torchscript', 'torch_export', 'fp16', 'bf16'])
  expect(FIGURES.map(({ of }) => of(lines[1]?.variant))).toEqual(['–', '–', '2.5', '–', '3 ×', '–', '–'])
})

test('a table model is asked with the features of its data, numbers as numbers', () => {
  const features = featuresOf({ features: { age: 30, plan: 'a' } }, { plan: 1 })

  expect(features).toEqual([
    { name: 'age', isNumber: true, example: '30' },
    { name: 'plan', isNumber: false, example: 'a' },
  ])
  expect(valuesOf(features, { age: '41', plan: '' })).toEqual({ age: 41 })
  expect(featuresOf(undefined, { plan: 1 })).toEqual([{ name: 'plan', isNumber: false, example: '' }])
})

test('vectors of one direction are alike, those of none are not', () => {
  expect(cosine([1, 0], [2, 0])).toBe(1)
  expect(cosine([0, 0], [1, 1])).toBe(0)
})

test('a version is better only where chance is unlikely', () => {
  expect(verdictOf({ p: 0.01, difference: 0.02 })).toBe('a')
  expect(verdictOf({ p: 0.01, difference: -0.02 })).toBe('b')
  expect(verdictOf({ p: 0.2, difference: 0.5 })).toBe('even')
})

test('what two versions were made with differs by settings, then by origin', () => {
  const comparison = { config: { epochs: { a: 1, b: 2 } }, lineage: { seed: { a: 0, b: 1 } } }

  expect(differing(comparison as never).map(({ name }) => name)).toEqual(['epochs', 'seed'])
})

test('where a version comes from leads to what the console can show', () => {
  const lines = lineageOf({ dataset: 'faq@v2', run_id: 'r1', config: { epochs: 3 }, base: null })

  expect(lines).toEqual([
    { name: 'dataset', value: 'faq@v2', to: '/data/faq' },
    { name: 'run_id', value: 'r1', to: '/training/r1' },
    { name: 'config.epochs', value: '3' },
    { name: 'base', value: '–' },
  ])
})
