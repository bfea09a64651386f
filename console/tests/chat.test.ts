import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { effectScope, type EffectScope } from 'vue'
import type { Message } from '@/api/types'
import { useChat } from '@/features/chat/useChat'
import { setLocale } from '@/locale'
import { event, serve, streamed } from './server'

let scope: EffectScope
beforeEach(async () => {
  scope = effectScope()
  await setLocale('en')
})
afterEach(() => {
  scope.stop()
  vi.unstubAllGlobals()
})

const message: Partial<Message> = { id: 'msg_1', query: 'Leave?', answer: 'Five days [1].', sources: [], status: 'succeeded', error: null }
const start = event('start', { message_id: 'msg_1', conversation_id: 'cnv_1', trace_id: 'trace_1' })
const running = event('node', { id: 'n1', title: 'Find passages', status: 'running' })

function chat() {
  const started = vi.fn()
  const made = scope.run(() => useChat(() => 'helpdesk', { started }))
  if (!made) throw new Error('the scope is over')
  return { ...made, started, last: () => made.turns.value.at(-1) }
}

test('an answer grows and ends as the stored message', async () => {
  serve(() => streamed([start, running, event('delta', { text: 'Five ' }), event('delta', { text: 'days [1].' }), event('done', { message })]))
  const { ask, last, started } = chat()

  await ask('Leave?')

  expect(last()).toMatchObject({ id: 'msg_1', answer: 'Five days [1].', state: 'done' })
  expect(started).toHaveBeenCalledWith('cnv_1')
})

test('the next question goes into the same conversation', async () => {
  const bodies: unknown[] = []
  serve(({ body }) => {
    bodies.push(body)
    return streamed([start, event('done', { message })])
  })
  const { ask } = chat()

  await ask('Leave?')
  await ask('And sick leave?')

  expect(bodies).toEqual([
    { query: 'Leave?', stream: true },
    { query: 'And sick leave?', stream: true, conversation_id: 'cnv_1' },
  ])
})

test('stopping keeps what was written and frees the box', async () => {
  serve(({ signal }) => streamed([start, event('delta', { text: 'Five' })], { hangs: signal }))
  const { ask, stop, last, isAnswering } = chat()

  const asked = ask('Leave?')
  await vi.waitUntil(() => last()?.answer)
  stop()
  await asked

  expect(last()).toMatchObject({ answer: 'Five', state: 'stopped' })
  expect(isAnswering.value).toBe(false)
})

test('a failed answer says why', async () => {
  serve(() => streamed([start, event('error', { error: { code: 'x', message: 'The model is away.', hint: 'Try again.' } })]))
  const { ask, last } = chat()

  await ask('Leave?')

  expect(last()).toMatchObject({ state: 'failed', failure: { title: 'The model is away.', text: 'Try again.' } })
})

test('a connection that breaks is not taken for an answer', async () => {
  serve(() => streamed([start, event('delta', { text: 'Five' })]))
  const { ask, last } = chat()

  await ask('Leave?')

  expect(last()).toMatchObject({ answer: 'Five', state: 'failed' })
})

test('a stored conversation shows its messages in their order', async () => {
  serve(() => Response.json({ items: [message, { ...message, id: 'msg_2', status: 'failed', error: { message: 'Away.', hint: '' } }] }))
  const { open, turns } = chat()

  await open('cnv_1')

  expect(turns.value.map(({ id, state }) => [id, state])).toEqual([
    ['msg_1', 'done'],
    ['msg_2', 'failed'],
  ])
})
