import type { CurveColumns, RunComparison, RunEvent } from '@/api/types'
import type { Series } from '@/components/series'
import { formatNumber } from '@/locale'

export type CurveFigure = 'loss' | 'accuracy' | 'lr' | 'grad_norm' | 'memory_mb'

/** The points of one figure over the steps of a run. */
export function curve(events: readonly RunEvent[], type: 'step' | 'eval', figure: CurveFigure) {
  return events.flatMap((event) => {
    const y = event[figure]
    return event.type === type && event.step !== undefined && y != null ? [{ x: event.step, y }] : []
  })
}

/** Small and large figures alike, as short as an axis has room for. */
export function formatShort(value: number): string {
  const size = Math.abs(value)
  if (size !== 0 && size < 0.0001) return value.toExponential(1)
  return formatNumber(value, size < 0.01 ? 4 : size < 10 ? 3 : 0)
}

const COLOURS = ['accent', 'run', 'kind-llm', 'kind-logic', 'err', 'ok', 'kind-io', 'warn']

/** One line for each compared run: how it did on the dev rows where it was asked, else on those it trained on. */
export function comparedSeries(comparison: RunComparison, figure: 'loss' | 'accuracy'): Series[] {
  return comparison.runs.flatMap((run, at) => {
    const { train, dev } = comparison.curves[run.id] ?? {}
    const columns = [dev, figure === 'loss' ? train : undefined].find((one) => one?.[figure]?.length)
    if (!columns) return []
    const color = COLOURS[at % COLOURS.length] ?? 'accent'
    return [{ name: labelOf(run.id, at), color, points: pointsOf(columns, figure), dots: columns === dev }]
  })
}

/** What a run is called in a comparison, where names of runs are long and often alike. */
export const labelOf = (id: string, at: number) => `${String.fromCharCode(65 + at)} · ${id.slice(-6)}`

function pointsOf(columns: CurveColumns, figure: string): { x: number; y: number }[] {
  return (columns.step ?? []).flatMap((x, at) => {
    const y = columns[figure]?.[at]
    return x != null && y != null ? [{ x, y }] : []
  })
}

/** What a run warned of, each warning once. */
export function warningsOf(events: readonly RunEvent[]): { step: number | undefined; message: string }[] {
  const found = new Map<string, { step: number | undefined; message: string }>()
  for (const { type, step, message } of events) if (type === 'warning' && message) found.set(message, { step, message })
  return [...found.values()]
}

/** The evaluation on the dev rows that went best: by accuracy where it is measured, else by loss. */
export function bestOf(events: readonly RunEvent[]): RunEvent | undefined {
  const worth = ({ accuracy, loss }: RunEvent) => accuracy ?? -(loss ?? Infinity)
  return events
    .filter(({ type }) => type === 'eval')
    .reduce<RunEvent | undefined>((best, event) => (best && worth(best) >= worth(event) ? best : event), undefined)
}
