import { House } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [{ path: '/', component: () => import('./HomePage.vue') }],
  menu: { to: '/', label: 'nav.home', icon: House, group: 'start', order: 0 },
}
