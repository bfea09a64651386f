import { expect, test } from 'vitest'
import { parseEvents, type ServerEvent } from '@/api/stream'

async function read(...chunks: string[]): Promise<ServerEvent[]> {
  async function* source() {
    yield* chunks
  }
  const events: ServerEvent[] = []
  for await (const event of parseEvents(source())) events.push(event)
  return events
}

test('an event may arrive in pieces', async () => {
  const events = await read('id: 7\neve', 'nt: step\nda', 'ta: {"loss"', ':0.5}\n', '\n')

  expect(events).toEqual([{ id: '7', event: 'step', data: '{"loss":0.5}' }])
})

test('several events may arrive at once', async () => {
  const events = await read('data: a\n\ndata: b\n\n')

  expect(events.map(({ data }) => data)).toEqual(['a', 'b'])
})

test('lines of data are joined, comments and other fields are left out', async () => {
  const events = await read(': ping\n\nretry: 10\ndata: one\ndata: two\n\n')

  expect(events).toEqual([{ id: '', event: 'message', data: 'one\ntwo' }])
})

test('Windows line ends are line ends, also when a chunk ends between them', async () => {
  expect(await read('data: a\r', '\n\r\ndata: b\r\n\r\n')).toHaveLength(2)
})

test('an event that was cut off is not reported', async () => {
  expect(await read('data: whole\n\ndata: ha')).toHaveLength(1)
})
