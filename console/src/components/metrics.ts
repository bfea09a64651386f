import type { ClassMetrics, Metrics } from '@/api/types'
import { formatBytes, formatNumber, formatPercent, type Key, t } from '@/locale'

export interface Figure {
  name: string
  value: string
}

type Format = (value: number) => string

const share: Format = (value) => formatPercent(value)
const exact: Format = (value) => formatNumber(value, 3)
const fine: Format = (value) => formatNumber(value, Math.abs(value) < 0.1 ? 4 : 3)

/** The figures that may be shown, in this order; a model has those that suit its kind. */
const FIGURES = {
  accuracy: share,
  macro_f1: share,
  micro_f1: share,
  recall_at_1: share,
  recall_at_5: share,
  mrr: exact,
  auroc: exact,
  ece: share,
  accuracy_at_threshold: share,
  perplexity: (value: number) => formatNumber(value, 2),
  token_accuracy: share,
  reward_accuracy: share,
  reward_margin: fine,
  loss: fine,
  r2: exact,
  mae: fine,
  rmse: fine,
} satisfies Record<string, Format>

type FigureName = keyof typeof FIGURES
const NAMES = Object.keys(FIGURES) as FigureName[]

/** What one figure is best known by, the first that a model has. */
const HEADLINES = ['accuracy', 'recall_at_1', 'r2', 'perplexity', 'reward_accuracy', 'mrr'] as const

const nameOf = (figure: FigureName) => t(`metrics.${figure}` as Key)

/** Figures that are told beside others, but say little by themselves. */
const OTHERS: Record<string, [Key, Format]> = {
  count: ['metrics.count', (value) => formatNumber(value)],
  cpu_ms: ['models.cpu_ms', fine],
  size_mb: ['models.size', (value) => formatBytes(value * 1e6)],
}

/** The figure's value as text; of a figure that is not known, the plain number. */
export function formatFigure(name: string, value: number): string {
  return (FIGURES[name as FigureName] ?? OTHERS[name]?.[1] ?? fine)(value)
}

/** The figure's name in the current language; of a figure that is not known, as the server calls it. */
export function figureName(name: string): string {
  const other = OTHERS[name]
  return name in FIGURES ? nameOf(name as FigureName) : other ? t(other[0]) : name
}

export function figuresOf(metrics: Metrics): Figure[] {
  return NAMES.flatMap((name) => {
    const value = metrics[name]
    return typeof value === 'number' ? [{ name: nameOf(name), value: FIGURES[name](value) }] : []
  })
}

/** One figure for a list of models of every kind. */
export function headline(metrics: Metrics): Figure | undefined {
  const spans = metrics.micro
  if (spans) return { name: 'F1', value: share(spans.f1) }
  const name = HEADLINES.find((one) => typeof metrics[one] === 'number')
  return name && { name: nameOf(name), value: FIGURES[name](metrics[name] as number) }
}

/** How well it tells what belongs to none of its labels. A run and a later evaluation name this differently. */
export function outside(metrics: Metrics): Figure[] {
  const found = metrics.oos ?? metrics.out_of_scope
  if (!found) return []
  const figure = (key: Key, value: number | null | undefined, format: Format) =>
    typeof value === 'number' ? [{ name: t(key), value: format(value) }] : []
  return [
    ...figure('metrics.oos.recall', found.recall, share),
    ...figure('metrics.oos.inside', found.in_scope_accuracy_at_threshold ?? (metrics.accuracy_at_threshold as number), share),
    ...figure('metrics.auroc', found.auroc, exact),
    ...figure('metrics.oos.threshold', found.threshold, exact),
    ...figure('metrics.count', found.count, (value) => formatNumber(value)),
  ]
}

/** The same figures before training or of a guess without a model, to see what the model adds. */
export function before(metrics: Metrics): Figure[] {
  return figuresOf({ ...metrics.base })
}

/** What counts over all spans or pairs together. */
export function overall(metrics: Metrics): [string, ClassMetrics][] {
  const rows: [Key, ClassMetrics | undefined][] = [
    ['metrics.micro', metrics.micro],
    ['metrics.overlap', metrics.overlap],
    ['metrics.matching', metrics.matching],
  ]
  return rows.flatMap(([key, one]) => (one ? [[t(key), one] as [string, ClassMetrics]] : []))
}

/** Accuracy on the same rows with noise in them. */
export function robustness(metrics: Metrics): { name: string; accuracy: number; drop: number }[] {
  return Object.entries(metrics.robustness ?? {}).flatMap(([name, one]) => (typeof one === 'object' ? [{ name, ...one }] : []))
}

/** Features by how much worse the model is without them. */
export function importance(metrics: Metrics): [string, number][] {
  return Object.entries(metrics.importance ?? {}).sort(([, a], [, b]) => b - a)
}
