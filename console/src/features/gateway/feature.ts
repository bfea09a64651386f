import { Waypoints } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [
    {
      path: '/gateway',
      component: () => import('./GatewayPage.vue'),
      children: [
        { path: '', component: () => import('./OverviewPage.vue') },
        { path: 'models', component: () => import('./ModelsPage.vue') },
        { path: 'local', component: () => import('./LocalPage.vue') },
        { path: 'policies/:name?', component: () => import('./PoliciesPage.vue'), props: true },
        { path: 'keys', component: () => import('./KeysPage.vue') },
        { path: 'usage', component: () => import('./UsagePage.vue') },
        { path: 'requests', component: () => import('./RequestsPage.vue') },
        { path: 'prompts/:name?', component: () => import('./PromptsPage.vue'), props: true },
      ],
    },
  ],
  menu: { to: '/gateway', label: 'nav.gateway', icon: Waypoints, group: 'operate', order: 32, needs: 'gateway:read' },
}
