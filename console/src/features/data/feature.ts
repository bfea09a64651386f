import { Database } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [
    { path: '/data', component: () => import('./DataPage.vue') },
    { path: '/data/:name', component: () => import('./DatasetPage.vue'), props: true },
  ],
  menu: { to: '/data', label: 'nav.data', icon: Database, group: 'own', order: 20, needs: 'dataset:read' },
}
