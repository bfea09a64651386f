import { onMounted, onScopeDispose } from 'vue'

/** Single keys that do something while nothing is being typed and no dialog is open. */
export function useKeys(keys: Record<string, () => void>): void {
  function onKey(event: KeyboardEvent) {
    const target = event.target as Element
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest('input, textarea, select, [role="dialog"]')) return
    // Enter presses the button that has the focus, whatever it means elsewhere.
    if (event.key === 'Enter' && target.closest('button, a, summary')) return
    const act = keys[event.key] ?? keys[event.key.toLowerCase()]
    if (!act) return
    event.preventDefault()
    act()
  }

  onMounted(() => window.addEventListener('keydown', onKey))
  onScopeDispose(() => window.removeEventListener('keydown', onKey))
}
