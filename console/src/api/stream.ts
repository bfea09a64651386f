import { send } from './client'

export interface ServerEvent {
  id: string
  event: string
  data: string
}

/** Cut a stream of text into server-sent events; bytes may break anywhere. */
export async function* parseEvents(chunks: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let rest = ''
  for await (const chunk of chunks) {
    const frames = (rest + chunk).replaceAll('\r\n', '\n').split('\n\n')
    rest = frames.pop() ?? ''
    for (const frame of frames) {
      const event = parseFrame(frame)
      if (event) yield event
    }
  }
}

function parseFrame(frame: string): ServerEvent | null {
  const event: ServerEvent = { id: '', event: 'message', data: '' }
  const data: string[] = []
  for (const line of frame.split('\n')) {
    const colon = line.indexOf(':')
    if (colon < 1) continue
    const value = line.slice(colon + 1).replace(/^ /, '')
    const field = line.slice(0, colon)
    if (field === 'data') data.push(value)
    else if (field === 'event' || field === 'id') event[field] = value
  }
  event.data = data.join('\n')
  return data.length ? event : null
}

interface StreamOptions {
  body?: Record<string, unknown>
  signal?: AbortSignal
  base?: string
}

/** Follow a path as server-sent events. A body makes it a POST, which the browser's EventSource cannot send. */
export async function* stream(path: string, { body, signal, base }: StreamOptions = {}): AsyncGenerator<ServerEvent> {
  const headers = { accept: 'text/event-stream' }
  const response = await send(body ? 'POST' : 'GET', path, { body, signal, headers, base })
  if (!response.body) return
  yield* parseEvents(readText(response.body))
}

async function* readText(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield decoder.decode(value, { stream: true })
    }
  } finally {
    // Leaving the loop early (stop, or the page was closed) also ends the request.
    await reader.cancel().catch(() => undefined)
  }
}
