/** The one place that calls `fetch`. Everything else asks for paths below `/api/v1`, or for models below `/v1`. */

export const BASE = '/api/v1'
export const OPENAI_BASE = '/v1'

interface ErrorBody {
  error?: { code?: string; message?: string; hint?: string; trace_id?: string; retryable?: boolean; details?: unknown }
}

/** A refused or failed request, with what the server says to do about it. */
export class ApiError extends Error {
  override name = 'ApiError'
  readonly code: string
  readonly hint: string
  readonly traceId: string
  readonly details: unknown

  constructor(
    readonly status: number,
    body: ErrorBody,
  ) {
    const error = body.error ?? {}
    super(error.message ?? `HTTP ${status}`)
    this.code = error.code ?? (status === 0 ? 'offline' : 'unknown')
    this.hint = error.hint ?? ''
    this.traceId = error.trace_id ?? ''
    this.details = error.details
  }
}

type Json = Record<string, unknown> | unknown[]
type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

interface Options {
  body?: Json | FormData | undefined
  signal?: AbortSignal | undefined
  headers?: Record<string, string>
  base?: string | undefined
}

/** Send a request and return the response, or throw an ApiError. */
export async function send(method: Method, path: string, { body, signal, headers, base = BASE }: Options = {}): Promise<Response> {
  const isForm = body instanceof FormData
  const init: RequestInit = {
    method,
    headers: { ...(body && !isForm ? { 'content-type': 'application/json' } : {}), ...headers },
    credentials: 'same-origin',
  }
  if (body) init.body = isForm ? body : JSON.stringify(body)
  if (signal) init.signal = signal
  const response = await fetch(base + path, init).catch((cause: unknown) => {
    if (signal?.aborted) throw cause
    throw new ApiError(0, {})
  })
  if (!response.ok) throw new ApiError(response.status, await errorBody(response))
  return response
}

async function errorBody(response: Response): Promise<ErrorBody> {
  try {
    return (await response.json()) as ErrorBody
  } catch {
    return {}
  }
}

async function json<T>(method: Method, path: string, options?: Options): Promise<T> {
  const response = await send(method, path, options)
  return (response.status === 204 ? undefined : await response.json()) as T
}

export const api = {
  get: <T>(path: string, signal?: AbortSignal) =>
    json<T>('GET', path, { signal, headers: { accept: 'application/json' } }),
  post: <T>(path: string, body?: Json | FormData) => json<T>('POST', path, { body }),
  put: <T>(path: string, body: Json) => json<T>('PUT', path, { body }),
  patch: <T>(path: string, body: Json) => json<T>('PATCH', path, { body }),
  delete: <T = void>(path: string) => json<T>('DELETE', path),
}

/** Join names into a path: `path('datasets', name)` is `/datasets/<escaped name>`. */
export function path(...parts: (string | number)[]): string {
  return parts.map((part) => `/${encodeURIComponent(part)}`).join('')
}
