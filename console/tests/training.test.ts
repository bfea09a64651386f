import { expect, test } from 'vitest'
import type { RunEvent } from '@/api/types'
import { align } from '@/components/series'
import { curve } from '@/features/training/curves'
import { fieldOf } from '@/features/training/fields'

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
