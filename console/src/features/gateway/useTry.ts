import { onScopeDispose, reactive, readonly } from 'vue'
import { OPENAI_BASE } from '@/api/client'
import { stream } from '@/api/stream'

interface Chunk {
  choices?: { delta?: { content?: string | null; reasoning_content?: string | null; reasoning?: string | null } }[]
  usage?: { prompt_tokens: number; completion_tokens: number } | null
  error?: { message: string }
}

interface Attempt {
  isRunning: boolean
  text: string
  reasoning: string
  error: unknown
  firstMs: number | null
  totalMs: number | null
  tokens: { prompt: number; completion: number } | null
}

const nothing = (): Attempt => ({
  isRunning: false,
  text: '',
  reasoning: '',
  error: null,
  firstMs: null,
  totalMs: null,
  tokens: null,
})

/** Ask a model once, as any OpenAI client would, and watch the answer come. */
export function useTry() {
  const state = reactive(nothing())
  let asking: AbortController | undefined

  async function ask(model: string, question: string): Promise<void> {
    stop()
    const mine = (asking = new AbortController())
    Object.assign(state, nothing(), { isRunning: true })
    const begun = performance.now()
    try {
      const body = { model, messages: [{ role: 'user', content: question }], stream: true, stream_options: { include_usage: true } }
      for await (const { data } of stream('/chat/completions', { body, signal: mine.signal, base: OPENAI_BASE })) {
        if (data === '[DONE]') break
        take(JSON.parse(data) as Chunk, performance.now() - begun)
      }
    } catch (error) {
      if (!mine.signal.aborted) state.error = error
    }
    if (asking !== mine) return
    state.totalMs = performance.now() - begun
    state.isRunning = false
  }

  function take({ choices, usage, error }: Chunk, ms: number): void {
    if (error) throw new Error(error.message)
    const delta = choices?.[0]?.delta
    const thought = delta?.reasoning_content ?? delta?.reasoning ?? ''
    const said = delta?.content ?? ''
    if (said || thought) state.firstMs ??= ms
    state.text += said
    state.reasoning += thought
    if (usage) state.tokens = { prompt: usage.prompt_tokens, completion: usage.completion_tokens }
  }

  function stop(): void {
    asking?.abort()
  }

  onScopeDispose(stop)
  return { state: readonly(state), ask, stop }
}
