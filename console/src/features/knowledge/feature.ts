import { BookOpen } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [
    { path: '/knowledge', component: () => import('./KnowledgePage.vue') },
    { path: '/knowledge/:name', component: () => import('./BasePage.vue'), props: true },
  ],
  menu: { to: '/knowledge', label: 'nav.knowledge', icon: BookOpen, group: 'build', order: 12, needs: 'knowledge:read' },
}
