import { computed, type MaybeRefOrGetter, toValue } from 'vue'
import { path } from '@/api/client'
import { useGet } from '@/api/queries'
import type { Model } from '@/api/types'

/** Every label that a model can give, from its newest version. */
export function useLabels(model: MaybeRefOrGetter<string | null>) {
  const query = useGet<Model>(() => {
    const name = toValue(model)
    return name ? `/models${path(name)}` : null
  })
  return computed(() => [...(query.data.value?.versions[0]?.labels ?? [])].sort())
}
