import type { Study, Trial } from '@/api/types'

const COMPARED = 6

/** The settings that a study looks for. */
export const searched = (study: Study | undefined) => Object.keys(study?.space ?? {})

/** The trial that the study came to, or the best so far: pruned and failed ones never had their chance. */
export function bestTrial(study: Study): Trial | undefined {
  return study.trials.find(({ run_id }) => run_id === study.best_run) ?? ranked(study).find(({ state, value }) => state === 'complete' && value !== null)
}

/** Those that did best first, and at the end what has no result. */
export function ranked(study: Study): Trial[] {
  const sign = study.objective === 'loss' ? 1 : -1
  const place = ({ value }: Trial) => (value === null ? Infinity : sign * value)
  return study.trials.toSorted((a, b) => place(a) - place(b) || a.number - b.number)
}

export const compareLink = (study: Study) => ({
  path: '/training/compare',
  query: { ids: ranked(study).slice(0, COMPARED).map(({ run_id }) => run_id).join(',') },
})
