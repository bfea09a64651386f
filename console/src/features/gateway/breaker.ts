import { t } from '@/locale'

const TONES = { closed: 'ok', 'half-open': 'warn', open: 'err' } as const

const isKnown = (state: string): state is keyof typeof TONES => state in TONES

export const isClosed = (state: string) => state === 'closed'
export const toneOfBreaker = (state: string) => (isKnown(state) ? TONES[state] : 'plain')
export const wordOfBreaker = (state: string) => (isKnown(state) ? t(`gw.breaker.${state}`) : state)
