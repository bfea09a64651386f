import { useGet } from '@/api/queries'
import type { Items } from '@/api/types'
import { t } from '@/locale'
import { useSession } from './useSession'

/** Names of users by their ids, as far as the signed-in user may know them. */
export function useUserNames(): (id: string) => string {
  const { user, may } = useSession()
  const users = useGet<Items<{ id: string; name: string }>>(() => (may('user:read') ? '/users' : null))

  return (id) => (id === user.value?.user_id ? t('common.you') : (users.data.value?.items.find((one) => one.id === id)?.name ?? id))
}
