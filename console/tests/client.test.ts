import { afterEach, expect, test, vi } from 'vitest'
import { api, ApiError, path } from '@/api/client'
import { explain } from '@/composables/useToasts'
import { setLocale } from '@/locale'
import { serve } from './server'

afterEach(() => vi.unstubAllGlobals())

const failure = (promise: Promise<unknown>) => promise.then(() => expect.unreachable(), (error: unknown) => error)

test('names in a path are escaped', () => {
  expect(path('datasets', 'a/b c', 'versions', 2)).toBe('/datasets/a%2Fb%20c/versions/2')
})

test('a refusal says what, why and what to do, with its trace id', async () => {
  const error = { code: 'dataset_not_found', message: "There is no dataset named 'x'.", hint: 'Known: faq', trace_id: 'trace_1' }
  serve(() => Response.json({ error }, { status: 404 }))

  const refused = await failure(api.get('/datasets/x'))

  expect(refused).toBeInstanceOf(ApiError)
  expect(explain(refused)).toEqual({ title: error.message, text: 'Known: faq', traceId: 'trace_1' })
})

test('an answer that is not ours still becomes an error with its status', async () => {
  serve(() => new Response('<h1>Bad gateway</h1>', { status: 502 }))

  expect(await failure(api.get('/me'))).toMatchObject({ status: 502, message: 'HTTP 502' })
})

test('a server that does not answer is told apart', async () => {
  await setLocale('en')
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')))

  expect(explain(await failure(api.get('/me'))).title).toBe('The server does not answer.')
})

test('an empty answer is no answer', async () => {
  serve(() => new Response(null, { status: 204 }))

  expect(await api.delete('/keys/key_1')).toBeUndefined()
})
