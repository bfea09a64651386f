import { Settings } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [{ path: '/settings', component: () => import('./SettingsPage.vue') }],
  menu: { to: '/settings', label: 'nav.settings', icon: Settings, group: 'operate', order: 39 },
}
