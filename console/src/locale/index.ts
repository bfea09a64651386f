import { computed, shallowRef } from 'vue'
import type { Key, Messages } from './en'

export type { Key }
export const LOCALES = { en: 'English', zh: '中文' } as const
export type Locale = keyof typeof LOCALES
type Params = Record<string, string | number>

const STORE = 'inhouse.locale'
const load: Record<Locale, () => Promise<Messages>> = {
  en: async () => (await import('./en')).en,
  zh: async () => (await import('./zh')).zh,
}

const locale = shallowRef<Locale>('en')
const messages = shallowRef<Messages>()

export async function setLocale(chosen: Locale): Promise<void> {
  messages.value = await load[chosen]()
  locale.value = chosen
  localStorage.setItem(STORE, chosen)
  document.documentElement.lang = chosen === 'zh' ? 'zh-CN' : 'en'
}

/** Begin with the stored choice, else with the browser's language. */
export function startLocale(): Promise<void> {
  const wanted = localStorage.getItem(STORE) ?? navigator.language
  return setLocale(wanted.startsWith('zh') ? 'zh' : 'en')
}

/** The text of a key in the current language. `{name}` places are filled; "one | many" is chosen by `n`. */
export function t(key: Key, params: Params = {}): string {
  const text = messages.value?.[key] ?? key
  const forms = text.split(' | ')
  const form = forms.length > 1 && params.n !== 1 ? forms[1] : forms[0]
  return (form ?? text).replace(/\{(\w+)\}/g, (place, name: string) => {
    const value = params[name]
    return value === undefined ? place : typeof value === 'number' ? formatNumber(value) : value
  })
}

/** The text in the current language of something the server keeps in both. */
export function pick<T>(texts: Partial<Record<Locale, T>>): T | undefined {
  return texts[locale.value] ?? texts.en ?? texts.zh
}

const tag = computed(() => (locale.value === 'zh' ? 'zh-CN' : 'en'))

export function formatNumber(value: number, digits = 0): string {
  return new Intl.NumberFormat(tag.value, { maximumFractionDigits: digits }).format(value)
}

export function formatPercent(share: number, digits = 1): string {
  return new Intl.NumberFormat(tag.value, { style: 'percent', maximumFractionDigits: digits }).format(share)
}

/** A moment in unix seconds: the time alone when it is today, else the date too. */
export function formatTime(seconds: number): string {
  const date = new Date(seconds * 1000)
  const today = date.toDateString() === new Date().toDateString()
  const options: Intl.DateTimeFormatOptions = today
    ? { timeStyle: 'short' }
    : { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' }
  return new Intl.DateTimeFormat(tag.value, { ...options, hourCycle: 'h23' }).format(date)
}

export function formatDuration(ms: number): string {
  if (ms < 1000) return `${formatNumber(ms, ms < 10 ? 1 : 0)} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${formatNumber(seconds, 1)} s`
  return `${formatNumber(Math.floor(seconds / 60))} min ${formatNumber(Math.round(seconds % 60))} s`
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB']
  const power = Math.min(Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(1000)), units.length - 1)
  return `${formatNumber(bytes / 1000 ** power, power ? 1 : 0)} ${units[power]}`
}

export function useLocale() {
  return { locale, setLocale, t }
}
