import { onScopeDispose, shallowReadonly, shallowRef } from 'vue'
import { api, ApiError, path } from '@/api/client'
import { refresh } from '@/api/queries'
import { stream } from '@/api/stream'
import type { Items, Message, Source } from '@/api/types'
import { explain } from '@/composables/useToasts'

/** A message on its way: what the server has said of it so far. */
export type Turn = Pick<Message, 'id' | 'query' | 'answer' | 'sources'> & {
  state: 'waiting' | 'streaming' | 'stopped' | 'failed' | 'done'
  /** The step that runs now, while nothing is written yet. */
  step: string
  failure: ReturnType<typeof explain> | null
  /** The stored message, once the answer is complete. */
  message: Message | null
}

/** A passage to open, and what the answer claims it says. */
export interface Citation {
  chunkId: string
  claim: string
}

interface Hooks {
  /** A first question opens a conversation. */
  started: (conversationId: string) => void
}

const STATES: Record<string, Turn['state']> = { failed: 'failed', stopped: 'stopped' }

function turnOf(message: Message): Turn {
  const { id, query, answer, sources, error, trace_id } = message
  const failure = error && { title: error.message, text: error.hint, traceId: trace_id }
  return { id, query, answer, sources, state: STATES[message.status] ?? 'done', step: '', failure, message }
}

/** One conversation with an app: its turns, asking, and stopping an answer. */
export function useChat(app: () => string, { started }: Hooks) {
  const turns = shallowRef<Turn[]>([])
  const isAnswering = shallowRef(false)
  let conversationId = ''
  let running: AbortController | null = null

  onScopeDispose(() => running?.abort())

  async function open(id: string): Promise<void> {
    if (id === conversationId) return
    stop()
    conversationId = id
    turns.value = []
    if (!id) return
    const { items } = await api.get<Items<Message>>(`/conversations${path(id)}/messages`)
    if (id === conversationId) turns.value = items.map(turnOf)
  }

  async function ask(query: string): Promise<void> {
    stop()
    const control = new AbortController()
    running = control
    isAnswering.value = true
    turns.value = [
      ...turns.value,
      { id: '', query, answer: '', sources: [], state: 'waiting', step: '', failure: null, message: null },
    ]
    try {
      await receive(query, control.signal)
    } catch (error) {
      if (!control.signal.aborted) patch({ state: 'failed', failure: explain(error) })
    } finally {
      if (running === control) release()
    }
    void refresh('/conversations', '/loop')
  }

  async function receive(query: string, signal: AbortSignal): Promise<void> {
    const body = { query, stream: true, ...(conversationId ? { conversation_id: conversationId } : {}) }
    for await (const { event, data } of stream(`/apps${path(app())}/chat`, { body, signal })) {
      if (signal.aborted) return
      apply(event, JSON.parse(data))
    }
    if (!turns.value.at(-1)?.message) throw new ApiError(0, {})
  }

  function apply(event: string, data: Incoming): void {
    if (event === 'start') {
      patch({ id: data.message_id })
      if (!conversationId) started((conversationId = data.conversation_id))
    } else if (event === 'node' && data.status === 'running') patch({ step: data.title })
    else if (event === 'sources') patch({ sources: data.sources })
    else if (event === 'delta') {
      patch({ answer: (turns.value.at(-1)?.answer ?? '') + data.text, state: 'streaming' })
    } else if (event === 'done') patch(turnOf(data.message))
    else if (event === 'error') throw new ApiError(500, data)
  }

  function patch(change: Partial<Turn>): void {
    const last = turns.value.at(-1)
    if (last) turns.value = [...turns.value.slice(0, -1), { ...last, ...change }]
  }

  function stop(): void {
    if (!running) return
    running.abort()
    release()
    patch({ state: 'stopped' })
  }

  function release(): void {
    running = null
    isAnswering.value = false
  }

  /** Show a message again after the server changed it. */
  function update(message: Message): void {
    turns.value = turns.value.map((turn) => (turn.id === message.id ? turnOf(message) : turn))
  }

  return { turns: shallowReadonly(turns), isAnswering: shallowReadonly(isAnswering), open, ask, stop, update }
}

interface Incoming {
  message_id: string
  conversation_id: string
  status: string
  title: string
  sources: Source[]
  text: string
  message: Message
  error: { code: string; message: string }
}
