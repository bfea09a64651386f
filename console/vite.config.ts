import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

const server = process.env.INHOUSE_URL ?? 'http://127.0.0.1:8750'

export default defineConfig({
  plugins: [vue()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  // Colours use light-dark(), which older targets would have rewritten into twice the CSS.
  build: { manifest: true, cssTarget: ['chrome123', 'safari17.5', 'firefox120'], modulePreload: { polyfill: false } },
  server: { proxy: { '/api': server, '/v1': server, '/predict': server } },
  test: { environment: 'happy-dom', include: ['tests/**/*.test.ts'] },
})
