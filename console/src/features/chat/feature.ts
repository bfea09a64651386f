import { MessageSquareText } from '@lucide/vue'
import type { Feature } from '../feature'

export const feature: Feature = {
  routes: [{ path: '/chat/:app?/:conversation?', component: () => import('./ChatPage.vue') }],
  menu: { to: '/chat', label: 'nav.chat', icon: MessageSquareText, group: 'build', order: 10, needs: 'app:use' },
}
