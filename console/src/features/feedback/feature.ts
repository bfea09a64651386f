import { Inbox } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [{ path: '/feedback', component: () => import('./FeedbackPage.vue') }],
  menu: { to: '/feedback', label: 'nav.feedback', icon: Inbox, group: 'own', order: 26, needs: 'feedback:review' },
}
