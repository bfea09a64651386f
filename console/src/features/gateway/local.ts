import { t } from '@/locale'

const TONES = { unloaded: 'plain', loading: 'run', loaded: 'ok', restarting: 'warn', failed: 'err' } as const

const isKnown = (state: string): state is keyof typeof TONES => state in TONES

export const toneOfState = (state: string) => (isKnown(state) ? TONES[state] : 'plain')
export const wordOfState = (state: string) => (isKnown(state) ? t(`gw.local.${state}`) : state)
export const isMoving = (state: string) => state === 'loading' || state === 'restarting'

/** The command in what the server says about a runtime that is not installed. */
export const commandOf = (missing: string): string => /pip install [^(]*[^(\s.]/.exec(missing)?.[0] ?? ''
