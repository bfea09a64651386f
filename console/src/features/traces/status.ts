import type { TraceSummary } from '@/api/types'
import { t } from '@/locale'

export const STATUSES = ['succeeded', 'partial-succeeded', 'failed', 'stopped'] as const

const TONES = {
  succeeded: 'ok',
  'partial-succeeded': 'warn',
  failed: 'err',
  stopped: 'plain',
  running: 'run',
  skipped: 'plain',
} as const

const isKnown = (status: string): status is keyof typeof TONES => status in TONES

export const toneOf = (status: string) => (isKnown(status) ? TONES[status] : 'plain')
export const wordOf = (status: string) => (isKnown(status) ? t(`traces.status.${status}`) : status)

/** The versions that answered, such as `intent:2, default:quote`. */
export const modelsOf = (trace: TraceSummary) =>
  Object.entries(trace.model_versions)
    .map(([name, version]) => `${name}:${version}`)
    .join(', ')

/** The question is what a reader looks for; other inputs are shown as they are. */
export function brief(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === null || typeof value !== 'object') return String(value ?? '')
  const { query, answer } = value as { query?: unknown; answer?: unknown }
  const text = query ?? answer
  return typeof text === 'string' ? text : JSON.stringify(value)
}
