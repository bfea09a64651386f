import { ApiError } from '@/api/client'

/** The columns of a file and what a row is made of, where the server could not tell which is which. */
export function unmapped(error: unknown): { columns: string[]; roles: string[] } | undefined {
  if (!(error instanceof ApiError) || typeof error.details !== 'object' || error.details === null) return undefined
  const { columns, roles } = error.details as { columns?: string[]; roles?: string[] }
  return columns && roles ? { columns, roles } : undefined
}

/** A name that a dataset may have, from that of its file. */
export function nameOf(file: string): string {
  return file
    .replace(/\.[^.]+$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+|-+$/g, '')
}

interface Chosen {
  name: string
  form: string
  format: string
  skipBadRows: boolean
}

/** The same import on the command line. */
export function commandOf(file: string, { name, form, format, skipBadRows }: Chosen, mapping: Record<string, string | string[]>): string {
  const columns = Object.entries(mapping).map(([role, column]) => ` --map ${role}=${Array.isArray(column) ? column.join(',') : column}`)
  const given = `${form && ` --form ${form}`}${format && ` --format ${format}`}${skipBadRows ? ' --skip-bad-rows' : ''}`
  return `inhouse data import ${file} --name ${name}${given}${columns.join('')}`
}
