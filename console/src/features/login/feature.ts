import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [{ path: '/login', component: () => import('./LoginPage.vue'), meta: { bare: true } }],
}
