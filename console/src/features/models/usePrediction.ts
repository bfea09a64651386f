import { computed, reactive, shallowRef } from 'vue'
import { api, path, send } from '@/api/client'
import { useAction, useGet } from '@/api/queries'
import type { Explanation, Items, ModelVersion, PredictionRow } from '@/api/types'
import { featuresOf, valuesOf } from './features'
import { versionPath } from './paths'

interface Rows extends Items<{ content: Record<string, unknown> }> {
  total: number
}

/** Ask one version of a model about one input, and why it says what it says. */
export function usePrediction(version: ModelVersion, text: string) {
  const form = reactive({ text, other: '', label: '', features: {} as Record<string, string> })

  /** What a table model takes is seen from a row that it learned from. */
  const source = version.kind === 'tabular' ? /^(.+)@v(\d+)$/.exec(String(version.lineage.dataset ?? '')) : null
  const examples = useGet<Rows>(source ? `/datasets${path(source[1] ?? '', 'versions', source[2] ?? '')}/examples?limit=1` : null)
  const features = computed(() => featuresOf(examples.data.value?.items[0]?.content, version.metrics.importance))

  const inputs = () => {
    if (version.kind === 'tabular') return [{ features: valuesOf(features.value, form.features) }]
    if (version.kind === 'rerank') return [{ text: form.text, other: form.other }]
    return version.kind === 'embed' && form.other ? [form.text, form.other] : [form.text]
  }

  async function predict(): Promise<PredictionRow[]> {
    const body = { inputs: inputs(), version: version.number }
    const response = await send('POST', `/predict${path(version.model)}`, { body, base: '' })
    return ((await response.json()) as { predictions: PredictionRow[] }).predictions
  }

  const asked = shallowRef({ text: '', other: '' })
  const ask = useAction(() => {
    asked.value = { text: form.text, other: form.other }
    return predict()
  })
  const explained = shallowRef({ text: '', other: '' })
  const explain = useAction(() => {
    const { text, label } = form
    const other = version.kind === 'rerank' ? form.other : ''
    explained.value = { text, other }
    return api.post<Explanation>(`${versionPath(version.model, version.number)}/explain`, { text, other, label })
  })

  return { form, features, ask, asked, explain, explained }
}
