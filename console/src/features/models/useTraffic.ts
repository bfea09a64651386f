import { useGet } from '@/api/queries'
import type { Deployment, Items } from '@/api/types'

/** Which share of a model's questions each version answers. */
export function useTraffic() {
  const deployments = useGet<Items<Deployment>>('/deployments')

  function shares(model: string): Record<string, number> {
    const weights = deployments.data.value?.items.find((one) => one.model === model)?.weights ?? {}
    const sum = Object.values(weights).reduce((total, weight) => total + weight, 0) || 1
    return Object.fromEntries(Object.entries(weights).map(([version, weight]) => [version, weight / sum]))
  }

  return { shares }
}
