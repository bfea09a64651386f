import type { RunEvent } from '@/api/types'

/** The points of one figure over the steps of a run. */
export function curve(events: readonly RunEvent[], type: 'step' | 'eval', figure: 'loss' | 'accuracy') {
  return events.flatMap((event) => {
    const y = event[figure]
    return event.type === type && event.step !== undefined && y !== undefined ? [{ x: event.step, y }] : []
  })
}
