import { computed, reactive, shallowRef, watch, watchEffect } from 'vue'
import { path } from '@/api/client'
import { useGet } from '@/api/queries'
import type { Dataset, DatasetVersion, Items, Recipe } from '@/api/types'
import { type Config, isLooped, nameFor, settingText } from './fields'

/** What a person fills in to train something, and what of it is sent. */
export function useStart(wanted: string) {
  const recipes = useGet<Items<Recipe>>('/recipes')
  const datasets = useGet<Items<DatasetVersion>>('/datasets')

  const form = reactive({
    recipe: '',
    dataset: wanted,
    version: null as number | null,
    model: '',
    seed: 0,
    processes: 1,
    isSearch: false,
    trials: 12,
    minutes: 30,
    parallel: 1,
    objective: 'accuracy' as 'accuracy' | 'loss',
    pruner: 'median' as 'median' | 'halving' | 'none',
  })
  const config = shallowRef<Config>({})

  const recipe = computed(() => recipes.data.value?.items.find(({ name }) => name === form.recipe))
  const fitting = computed(() => (datasets.data.value?.items ?? []).filter((one) => recipe.value?.forms.includes(one.form)))
  const chosen = useGet<Dataset>(() => (form.dataset ? `/datasets${path(form.dataset)}` : null))
  const versions = computed(() => (chosen.data.value?.name === form.dataset ? chosen.data.value.versions : []))
  const model = computed(() => form.model.trim() || nameFor(form.recipe, form.dataset))
  const canSearch = computed(() => recipe.value !== undefined && isLooped(recipe.value))
  const isSearch = computed(() => form.isSearch && canSearch.value)

  /** Begin with what suits the dataset that one came from, else with the first recipe that can be used. */
  watchEffect(() => {
    const usable = (recipes.data.value?.items ?? []).filter(({ missing }) => !missing)
    if (form.recipe || !usable.length || !datasets.data.value) return
    const given = datasets.data.value.items.find(({ dataset }) => dataset === form.dataset)
    const suits = usable.filter(({ forms }) => !given || forms.includes(given.form))
    form.recipe = (suits.find(({ name }) => name === 'classify') ?? suits[0] ?? usable[0])?.name ?? ''
  })
  watchEffect(() => {
    if (!recipe.value || !datasets.data.value || fitting.value.some(({ dataset }) => dataset === form.dataset)) return
    form.dataset = fitting.value[0]?.dataset ?? ''
  })
  watch(
    () => form.recipe,
    () => (config.value = {}),
  )
  watch(
    () => form.dataset,
    () => (form.version = null),
  )

  const body = computed(() => {
    const { recipe, dataset, version, seed, processes, trials, minutes, parallel, objective, pruner } = form
    const common = { recipe, dataset, version, model: model.value, config: config.value, seed }
    return isSearch.value ? { ...common, trials, minutes, parallel, objective, pruner } : { ...common, processes }
  })

  const command = computed(() => {
    const settings = Object.entries(config.value).map(([name, value]) => ` --set ${name}=${settingText(value)}`)
    const { version, seed, processes } = form
    return [
      `inhouse train ${isSearch.value ? 'search' : 'start'} ${form.dataset} --model ${model.value} --recipe ${form.recipe}`,
      ...settings,
      version === null ? '' : ` --version ${version}`,
      seed ? ` --seed ${seed}` : '',
      isSearch.value ? searchOptions() : processes > 1 ? ` --processes ${processes}` : '',
    ].join('')
  })

  function searchOptions(): string {
    const { trials, minutes, parallel, objective, pruner } = form
    return [
      ` --trials ${trials} --minutes ${minutes}`,
      parallel > 1 ? ` --parallel ${parallel}` : '',
      objective === 'loss' ? ' --objective loss' : '',
      pruner === 'median' ? '' : ` --pruner ${pruner}`,
    ].join('')
  }

  return { recipes, datasets, form, config, recipe, fitting, versions, model, canSearch, isSearch, body, command }
}
