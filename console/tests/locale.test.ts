import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { formatBytes, formatDuration, formatPercent, pick, setLocale, t } from '@/locale'
import { en, type Key } from '@/locale/en'
import { zh } from '@/locale/zh'

const SRC = join(import.meta.dirname, '../src')
const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
const places = (text: string) => [...new Set(text.match(/\{\w+\}/g))].sort()

beforeEach(() => setLocale('en'))

test('both languages have the same keys', () => {
  expect(Object.keys(zh)).toEqual(Object.keys(en))
})

test('every text fills the same places in both languages', () => {
  const keys = Object.keys(en) as Key[]

  expect(keys.filter((key) => String(places(zh[key])) !== String(places(en[key])))).toEqual([])
})

test('no component holds literal Chinese', () => {
  const components = sources.filter((file) => file.endsWith('.vue'))

  expect(components.filter((file) => /\p{Script=Han}/u.test(readFileSync(join(SRC, file), 'utf8')))).toEqual([])
})

test('a number chooses between one and many', () => {
  expect(t('data.examples.n', { n: 1 })).toBe('1 example')
  expect(t('data.examples.n', { n: 1512 })).toBe('1,512 examples')
})

test('switching the language changes texts, numbers and the language of the page', async () => {
  await setLocale('zh')

  expect(t('nav.home')).toBe('首页')
  expect(pick({ en: 'Help desk', zh: '服务台' })).toBe('服务台')
  expect(document.documentElement.lang).toBe('zh-CN')
})

test('a text that exists in one language only is shown in that one', () => {
  expect(pick({ zh: '服务台' })).toBe('服务台')
})

test('figures carry their unit', () => {
  expect(formatDuration(4.2)).toBe('4.2 ms')
  expect(formatDuration(75_000)).toBe('1 min 15 s')
  expect(formatBytes(4_321_000)).toBe('4.3 MB')
  expect(formatPercent(0.9412)).toBe('94.1%')
})
