import { Boxes } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [
    { path: '/models', component: () => import('./ModelsPage.vue') },
    { path: '/models/:name', component: () => import('./ModelPage.vue'), props: true },
    { path: '/models/:name/compare', component: () => import('./ComparePage.vue'), props: true },
    {
      path: '/models/:name/versions/:number(\\d+)',
      component: () => import('./VersionPage.vue'),
      props: true,
      children: [
        { path: '', component: () => import('./OverviewTab.vue') },
        { path: 'evaluation', component: () => import('./EvaluationTab.vue') },
        { path: 'variants', component: () => import('./VariantsTab.vue') },
        { path: 'try', component: () => import('./TryTab.vue') },
      ],
    },
  ],
  menu: { to: '/models', label: 'nav.models', icon: Boxes, group: 'own', order: 24, needs: 'model:read' },
}
