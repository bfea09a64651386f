import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { features } from '@/features/feature'
import { router } from '@/router'

const SRC = join(import.meta.dirname, '../src')
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => /\.(vue|ts)$/.test(file))
const read = (file: string) => readFileSync(join(SRC, file), 'utf8')
const menu = features.flatMap((feature) => feature.menu ?? [])

test.each(menu.map(({ to }) => to))('the menu entry %s leads to a page', (to) => {
  expect(router.resolve(to).matched[0]?.redirect).toBeUndefined()
})

test('features import nothing of each other', () => {
  const foreign = files
    .filter((file) => file.startsWith('features/'))
    .filter((file) => {
      const own = file.split('/')[1]
      const imported = [...read(file).matchAll(/from '(?:@\/features|\.\.)\/([\w-]+)/g)].map((match) => match[1])
      return imported.some((name) => name !== own && name !== 'feature')
    })

  expect(foreign).toEqual([])
})

test('requests are left to the API client', () => {
  const asking = files.filter((file) => !file.startsWith('api/') && /\bfetch\(|XMLHttpRequest|EventSource\(/.test(read(file)))

  expect(asking).toEqual([])
})

test('nothing is asked of other hosts', () => {
  const leaving = files.filter((file) => /(src|href)="https?:|@import|url\(['"]?https?:/.test(read(file)))

  expect(leaving).toEqual([])
})
