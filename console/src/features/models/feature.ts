import { Boxes } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [
    { path: '/models', component: () => import('./ModelsPage.vue') },
    { path: '/models/:name', component: () => import('./ModelPage.vue'), props: true },
  ],
  menu: { to: '/models', label: 'nav.models', icon: Boxes, group: 'own', order: 24, needs: 'model:read' },
}
