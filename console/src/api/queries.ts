import { MutationCache, QueryCache, QueryClient, useMutation, useQuery } from '@tanstack/vue-query'
import { computed, type MaybeRefOrGetter, toValue } from 'vue'
import { useSession } from '@/composables/useSession'
import { useToasts } from '@/composables/useToasts'
import { api, ApiError } from './client'

function leaveWhenSignedOut(error: unknown) {
  if (error instanceof ApiError && error.status === 401) useSession().expire()
}

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (count, error) => count < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 502),
    },
  },
  queryCache: new QueryCache({ onError: leaveWhenSignedOut }),
  mutationCache: new MutationCache({
    onError: (error, _input, _context, mutation) => {
      leaveWhenSignedOut(error)
      if (!mutation.meta?.isQuiet) useToasts().showError(error)
    },
  }),
})

/** `/datasets/faq?limit=5` becomes `['datasets', 'faq', '?limit=5']`, so that refreshing `/datasets` covers it. */
function keyOf(path: string): string[] {
  const [place = '', search] = path.split('?')
  return [...place.split('/').filter(Boolean), ...(search ? [`?${search}`] : [])]
}

interface GetOptions<T> {
  /** Milliseconds between two looks, or false to look once. */
  every?: (data: T | undefined) => number | false
}

/** Read a path and keep it fresh. A null path reads nothing. */
export function useGet<T>(path: MaybeRefOrGetter<string | null>, { every }: GetOptions<T> = {}) {
  return useQuery<T>({
    queryKey: computed(() => keyOf(toValue(path) ?? '')),
    queryFn: ({ signal }) => api.get<T>(toValue(path) ?? '', signal),
    enabled: computed(() => toValue(path) !== null),
    refetchInterval: (query) => every?.(query.state.data) ?? false,
  })
}

export function refresh(...paths: string[]): Promise<unknown> {
  return Promise.all(paths.map((path) => queries.invalidateQueries({ queryKey: keyOf(path) })))
}

interface ActionOptions<Out> {
  /** Paths whose data this action changes. */
  refreshes?: string[]
  done?: (result: Out) => void
  /** The place that acts shows failures itself. */
  isQuiet?: boolean
}

/** Something a button does: it knows whether it is running, and failures become a toast. */
export function useAction<In = void, Out = unknown>(
  run: (input: In) => Promise<Out>,
  { refreshes = [], done, isQuiet = false }: ActionOptions<Out> = {},
) {
  return useMutation({
    meta: { isQuiet },
    mutationFn: run,
    onSuccess: (result) => {
      void refresh(...refreshes)
      done?.(result)
    },
  })
}
