import { ChartGantt } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [
    { path: '/traces', component: () => import('./TracesPage.vue') },
    { path: '/traces/:id', component: () => import('./TracePage.vue'), props: true },
  ],
  menu: { to: '/traces', label: 'nav.traces', icon: ChartGantt, group: 'operate', order: 30, needs: 'trace:read' },
}
