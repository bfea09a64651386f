import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

// The host stays the browser's: the server refuses what comes from another site.
const proxied = { target: process.env.INHOUSE_URL ?? 'http://127.0.0.1:8750', changeOrigin: false }

export default defineConfig({
  plugins: [vue()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  // Colours use light-dark(), which older targets would have rewritten into twice the CSS.
  build: { manifest: true, cssTarget: ['chrome123', 'safari17.5', 'firefox120'], modulePreload: { polyfill: false } },
  server: { proxy: { '/api': proxied, '/v1': proxied, '/predict': proxied } },
  test: { environment: 'happy-dom', include: ['tests/**/*.test.ts'] },
})
