import { vi } from 'vitest'

type Answer = (request: { method: string; path: string; body: unknown; signal: AbortSignal | null | undefined }) => Response

/** Stands in for the network: every request goes to `answer`. Returns the paths asked for. */
export function serve(answer: Answer): string[] {
  const asked: string[] = []
  vi.stubGlobal('fetch', async (path: string, init: RequestInit = {}) => {
    asked.push(path)
    const body: unknown = typeof init.body === 'string' ? JSON.parse(init.body) : init.body
    return answer({ method: init.method ?? 'GET', path, body, signal: init.signal })
  })
  return asked
}

export const event = (name: string, data: unknown) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

/** A response that sends these events; `hangs` leaves it open until the request is aborted. */
export function streamed(events: string[], { hangs }: { hangs?: AbortSignal | null | undefined } = {}): Response {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const text of events) controller.enqueue(new TextEncoder().encode(text))
      if (!hangs) controller.close()
      hangs?.addEventListener('abort', () => controller.error(new DOMException('stopped', 'AbortError')))
    },
  })
  return new Response(body)
}
