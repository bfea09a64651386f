import { createRouter, createWebHistory } from 'vue-router'
import { useSession } from '@/composables/useSession'
import { features } from '@/features/feature'

declare module 'vue-router' {
  interface RouteMeta {
    /** The page stands alone, without the shell and without a signed-in user. */
    bare?: boolean
  }
}

export const router = createRouter({
  history: createWebHistory(),
  routes: [...features.flatMap((feature) => feature.routes), { path: '/:rest(.*)*', redirect: '/' }],
})

router.beforeEach(async (to) => {
  if (to.meta.bare) return true
  const { user, load } = useSession()
  if (user.value ?? (await load())) return true
  return { path: '/login', query: to.fullPath === '/' ? {} : { next: to.fullPath } }
})
