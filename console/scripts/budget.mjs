// Fails when the built console is heavier than we promise (sizes gzipped, as a browser fetches them).
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const ENTRY_KIB = 90
const ROUTE_KIB = 250

const dist = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist')
const manifest = JSON.parse(readFileSync(join(dist, '.vite', 'manifest.json'), 'utf8'))

/** Every script that `name` needs before it runs, itself included. */
function scripts(name, found = new Set()) {
  if (found.has(name)) return found
  found.add(name)
  for (const next of manifest[name].imports ?? []) scripts(next, found)
  return found
}

const kib = (names) =>
  [...names].reduce((sum, name) => sum + gzipSync(readFileSync(join(dist, normalize(manifest[name].file)))).length, 0) / 1024

const entry = Object.keys(manifest).find((name) => manifest[name].isEntry)
const first = scripts(entry)
const pages = Object.keys(manifest).filter((name) => name.endsWith('Page.vue'))
const rows = [
  ['entry', kib(first), ENTRY_KIB],
  ...pages.map((name) => [name.replace('src/features/', ''), kib(new Set([...first, ...scripts(name)])), ROUTE_KIB]),
]
for (const [name, size, limit] of rows) {
  console.log(`${size > limit ? 'OVER' : ' ok '} ${size.toFixed(1).padStart(7)} / ${limit} KiB  ${name}`)
}
process.exit(rows.some(([, size, limit]) => size > limit) ? 1 : 0)
