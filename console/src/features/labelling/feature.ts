import { Tags } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [
    { path: '/labelling', component: () => import('./LabellingPage.vue') },
    { path: '/labelling/:name', component: () => import('./QueuePage.vue'), props: true },
  ],
  menu: { to: '/labelling', label: 'nav.labelling', icon: Tags, group: 'own', order: 22, needs: 'label:write' },
}
