import MarkdownIt from 'markdown-it'
import { t } from '@/locale'

const LINK = /^(https?:|mailto:)/i
const NUMBERS = String.raw`(\s*\d{1,3}(?:\s*[,，、;]\s*\d{1,3})*\s*)`
const CITATION = new RegExp(String.raw`^\[${NUMBERS}\](?![(:])`)
const CHINESE_BRACKETS = new RegExp(`【${NUMBERS}】`, 'g')

/** Markdown of answers: no raw HTML, no images (they would call home), links that say where they lead. */
const markdown = new MarkdownIt({ html: false, linkify: true, breaks: true }).disable('image')

markdown.validateLink = (url) => LINK.test(url)

markdown.inline.ruler.before('link', 'citation', (state, silent) => {
  const numbers = CITATION.exec(state.src.slice(state.pos))?.[1]
  if (!numbers) return false
  if (!silent) for (const n of numbers.match(/\d+/g) ?? []) state.push('citation', '', 0).content = n
  state.pos += numbers.length + 2
  return true
})

markdown.renderer.rules.citation = (tokens, index) => {
  const n = tokens[index]?.content ?? ''
  return `<button type="button" class="citation" data-n="${n}" aria-label="${t('chat.source', { name: n })}">${n}</button>`
}

markdown.renderer.rules.link_open = (tokens, index, options, _env, self) => {
  tokens[index]?.attrSet('target', '_blank')
  tokens[index]?.attrSet('rel', 'noopener noreferrer')
  return self.renderToken(tokens, index, options)
}

markdown.renderer.rules.link_close = (tokens, index) => {
  const href = tokens.slice(0, index).findLast((token) => token.type === 'link_open')?.attrGet('href')
  return `</a>${host(String(href ?? ''))}`
}

function host(href: string): string {
  const name = URL.canParse(href) && new URL(href).host
  return name ? `<span class="host"> (${markdown.utils.escapeHtml(name)})</span>` : ''
}

export function renderMarkdown(text: string): string {
  return markdown.render(text.replace(CHINESE_BRACKETS, '[$1]'))
}

/**
 * Cut a growing text into what is finished and what may still change: at its last blank line outside a code block.
 * While an answer streams in, the finished part is rendered once.
 */
export function splitFinished(text: string): [finished: string, growing: string] {
  const cut = text.lastIndexOf('\n\n')
  if (cut < 0) return ['', text]
  const finished = text.slice(0, cut + 2)
  const fences = finished.match(/^ {0,3}(```|~~~)/gm)?.length ?? 0
  return fences % 2 ? ['', text] : [finished, text.slice(cut + 2)]
}
