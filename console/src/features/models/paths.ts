import { path } from '@/api/client'

/** Where a version is found, in the API and likewise in the console. */
export const versionPath = (name: string, number: string | number) => path('models', name, 'versions', number)
