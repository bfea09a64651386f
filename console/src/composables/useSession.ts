import { shallowRef } from 'vue'
import { api, ApiError } from '@/api/client'
import type { User } from '@/api/types'

const user = shallowRef<User | null>(null)

/** Who is signed in. The session itself is a cookie that scripts cannot read. */
export function useSession() {
  async function load(): Promise<User | null> {
    try {
      user.value = await api.get<User>('/me')
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      user.value = null
    }
    return user.value
  }

  async function signIn(username: string, password: string): Promise<void> {
    await api.post('/auth/login', { username, password })
    await load()
  }

  async function signOut(): Promise<void> {
    await api.post('/auth/logout')
    window.location.assign('/login')
  }

  /** The server no longer knows us: start over at the login page, coming back here afterwards. */
  function expire(): void {
    if (!user.value) return
    user.value = null
    window.location.assign(`/login?next=${encodeURIComponent(window.location.pathname)}`)
  }

  /** Whether the user has a permission such as `dataset:read`, by itself or through a wildcard. */
  function may(permission: string): boolean {
    const all = `${permission.split(':')[0]}:*`
    return user.value?.permissions.some((own) => own === '*' || own === all || own === permission) ?? false
  }

  return { user, may, load, signIn, signOut, expire }
}
