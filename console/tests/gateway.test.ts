import { afterEach, expect, test, vi } from 'vitest'
import { effectScope } from 'vue'
import { ApiError } from '@/api/client'
import type { JsonSchema, Usage } from '@/api/types'
import { diffLines } from '@/features/gateway/diff'
import { bodyOf, partsOf } from '@/features/gateway/kept'
import { commandOf } from '@/features/gateway/local'
import { problemsOf } from '@/features/gateway/problems'
import { relevant } from '@/features/gateway/rules'
import { changes, fieldsOf, standards, wordsOf } from '@/features/gateway/schema'
import { snippet } from '@/features/gateway/snippets'
import { barsOf, totalOf } from '@/features/gateway/usage'
import { useTry } from '@/features/gateway/useTry'
import { serve } from './server'

afterEach(() => vi.unstubAllGlobals())

const LIMITS: JsonSchema = {
  type: 'object',
  $defs: {
    Limit: {
      type: 'object',
      properties: {
        subject: { type: 'string', default: '*', maxLength: 200, title: 'Subject' },
        each: { enum: ['', 'key', 'user'], type: 'string', default: '' },
        requests_per_minute: { anyOf: [{ type: 'integer', minimum: 1, maximum: 10 }, { type: 'null' }], default: null },
      },
    },
    Times: { type: 'object', properties: { total_s: { anyOf: [{ type: 'number', minimum: 60 }, { type: 'null' }], default: null } } },
  },
  properties: {
    rules: { type: 'array', items: { $ref: '#/$defs/Limit' }, default: [] },
    answer_tokens: { type: 'integer', minimum: 0, maximum: 100, default: 50 },
    enabled: { type: 'boolean', default: true },
    models: { type: 'object', additionalProperties: { $ref: '#/$defs/Times' } },
    finds: { type: 'array', items: { enum: ['email', 'ip'], type: 'string' }, default: ['email'] },
    words: { type: 'array', items: { type: 'string' }, default: [] },
    extra: { anyOf: [{ $ref: '#/$defs/Times' }, { type: 'null' }], default: null },
    odd: { anyOf: [{ type: 'integer' }, { type: 'string' }], default: 1 },
  },
}
const fields = fieldsOf(LIMITS)
const field = (name: string) => fields.find((one) => one.name === name)
const standard = standards(fields)

test('each part of a schema has its way of being drawn', () => {
  expect(Object.fromEntries(fields.map(({ name, shape }) => [name, shape.kind]))).toEqual({
    rules: 'rows',
    answer_tokens: 'number',
    enabled: 'flag',
    models: 'map',
    finds: 'choices',
    words: 'words',
    extra: 'group',
    odd: 'json',
  })
  expect(field('answer_tokens')?.shape).toEqual({ kind: 'number', step: 1, min: 0, max: 100 })
})

test('what may be absent says so and has its own bounds', () => {
  const shape = field('rules')?.shape
  const limit = shape?.kind === 'rows' ? shape.of.find(({ name }) => name === 'requests_per_minute') : undefined

  expect(limit).toMatchObject({ isOptional: true, standard: null, shape: { kind: 'number', min: 1, max: 10 } })
  expect(field('extra')).toMatchObject({ isOptional: true, standard: null })
})

test('only what differs from the defaults is sent', () => {
  const rules = [{ subject: '*', each: '', requests_per_minute: 5 }]

  expect(changes(standard, fields)).toEqual({})
  expect(changes({ ...standard, rules, enabled: false }, fields)).toEqual({ rules: [{ requests_per_minute: 5 }], enabled: false })
})

test('an empty list differs from a default list', () => {
  expect(changes({ ...standard, finds: [] }, fields)).toEqual({ finds: [] })
})

test('values by name keep their names, and settings that the schema does not know stay', () => {
  const models = { big: { total_s: 900 }, small: { total_s: null } }

  expect(changes({ ...standard, models, later: 1 }, fields)).toEqual({ models: { big: { total_s: 900 }, small: {} }, later: 1 })
})

test('what must be said is sent even when it is empty', () => {
  const named = fieldsOf({ properties: { name: { type: 'string' } }, required: ['name'] })

  expect(changes({ name: '' }, named)).toEqual({ name: '' })
})

test('a schema that holds itself ends', () => {
  const tree: JsonSchema = { $defs: { Tree: { properties: { below: { $ref: '#/$defs/Tree' } } , type: 'object' } }, properties: { top: { $ref: '#/$defs/Tree' } } }

  expect(JSON.stringify(fieldsOf(tree))).toContain('"kind":"json"')
})

test('a guard rule shows only what its way of looking needs', () => {
  const row = { kind: 'words', action: 'mask' }
  const shown = ['patterns', 'words', 'restore', 'model'].filter((name) => relevant({ name } as never, row))

  expect(shown).toEqual(['words', 'restore', 'model'])
})

test('lists are read with commas of both languages', () => {
  expect(wordsOf('a, b，c\n d ,')).toEqual(['a', 'b', 'c', 'd'])
})

test('problems are found by the place of their field', () => {
  const problems = [{ place: ['rules', 0, 'model'], message: 'too long' }, { place: ['body', 'targets'], message: 'missing' }]

  expect(problemsOf(new ApiError(422, { error: { details: { problems } } }))).toEqual({ 'rules.0.model': 'too long', targets: 'missing' })
  expect(problemsOf(new Error('else'))).toEqual({})
})

test('two versions of a text are compared line by line', () => {
  const lines = diffLines('one\ntwo\nthree', 'one\n2\nthree\nfour').map(({ kind, text }) => `${kind} ${text}`)

  expect(lines).toEqual(['same one', 'removed two', 'added 2', 'same three', 'added four'])
})

const hour = (at: number, requests: number): Usage => ({
  name: String(at * 3600),
  requests,
  errors: 1,
  cached: 0,
  prompt_tokens: 2,
  completion_tokens: 3,
  cost: 0.5,
})

test('hours without requests are bars without height', () => {
  expect(barsOf([hour(3, 5), hour(1, 7)], 'requests', 0).map(({ value }) => value)).toEqual([7, 0, 5])
  expect(barsOf([hour(1, 7)], 'tokens', 0)).toEqual([{ start: 3600, end: 7200, value: 5 }])
  expect(barsOf([], 'cost', 0)).toEqual([])
})

test('a long time is shown by days, which begin at local midnight', () => {
  const bars = barsOf([hour(23, 1), hour(24 * 10, 1)], 'requests', 2 * 3600)

  expect(bars).toHaveLength(10)
  expect(bars[0]).toEqual({ start: 22 * 3600, end: 46 * 3600, value: 1 })
})

test('usage adds up', () => {
  expect(totalOf([hour(1, 2), hour(2, 3)])).toMatchObject({ requests: 5, errors: 2, cost: 1 })
})

test('the time of a request is the queue, the first token and the rest', () => {
  const parts = partsOf({ queued_s: 1, first_token_s: 3, total_s: 4 })

  expect(parts.map(({ name, start, length }) => [name, start, length])).toEqual([
    ['queued', 0, 0.25],
    ['first_token', 0.25, 0.5],
    ['rest', 0.75, 0.25],
  ])
  expect(partsOf({ queued_s: 0, first_token_s: 0, total_s: 2 })).toEqual([{ name: 'rest', start: 0, length: 1, seconds: 2 }])
})

test('bodies are text, whatever they hold', () => {
  expect(bodyOf('<b>')).toBe('<b>')
  expect(bodyOf({ a: 1 })).toBe('{\n  "a": 1\n}')
  expect(bodyOf(null)).toBe('')
})

test('the command to install a runtime is found in what the server says', () => {
  expect(commandOf("pip install 'inhouse[openvino]'")).toBe("pip install 'inhouse[openvino]'")
  expect(commandOf('Put it on the PATH: pip install vllm (in an environment of its own).')).toBe('pip install vllm')
  expect(commandOf('It needs a GPU.')).toBe('')
})

test('examples name the address and the model', () => {
  expect(snippet('curl', 'http://127.0.0.1/v1', 'chat')).toContain('http://127.0.0.1/v1/chat/completions')
  expect(snippet('python', 'http://127.0.0.1/v1', 'chat')).toContain('model="chat"')
})

const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`

test('a model is tried through the address that programs use', async () => {
  const chunk = (content: string) => data({ choices: [{ delta: { content } }] })
  const events = [chunk('He'), chunk('llo'), data({ choices: [], usage: { prompt_tokens: 4, completion_tokens: 2 } }), 'data: [DONE]\n\n']
  const asked = serve(() => new Response(events.join('')))

  const { state, ask } = effectScope().run(useTry) ?? expect.unreachable()
  await ask('chat', 'Hi')

  expect(asked).toEqual(['/v1/chat/completions'])
  expect(state).toMatchObject({ text: 'Hello', isRunning: false, error: null, tokens: { prompt: 4, completion: 2 } })
})

test('an error in the middle of an answer is told', async () => {
  serve(() => new Response(data({ error: { message: 'gone' } })))

  const { state, ask } = effectScope().run(useTry) ?? expect.unreachable()
  await ask('chat', 'Hi')

  expect(state.error).toMatchObject({ message: 'gone' })
  expect(state.isRunning).toBe(false)
})
