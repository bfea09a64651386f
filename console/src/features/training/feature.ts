import { GraduationCap } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [
    { path: '/training', component: () => import('./TrainingPage.vue') },
    { path: '/training/compare', component: () => import('./ComparePage.vue') },
    { path: '/training/studies/:id', component: () => import('./StudyPage.vue'), props: true },
    { path: '/training/:id', component: () => import('./RunPage.vue'), props: true },
  ],
  menu: { to: '/training', label: 'nav.training', icon: GraduationCap, group: 'own', order: 22, needs: 'run:read' },
}
