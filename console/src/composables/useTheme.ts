import { shallowRef, watchEffect } from 'vue'

export const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

const STORE = 'inhouse.theme'
const stored = localStorage.getItem(STORE)
const theme = shallowRef<Theme>(THEMES.find((name) => name === stored) ?? 'system')

watchEffect(() => {
  localStorage.setItem(STORE, theme.value)
  if (theme.value === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme.value
})

/** The colour theme: the system's unless the user chose one. */
export function useTheme() {
  function next(): void {
    theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? 'system'
  }

  return { theme, next }
}
