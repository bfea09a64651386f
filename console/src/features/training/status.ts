import type { Run } from '@/api/types'

export const TONES = { queued: 'plain', running: 'run', succeeded: 'ok', failed: 'err', stopped: 'warn' } as const

export const isActive = (run: Run | undefined) => run?.status === 'queued' || run?.status === 'running'
