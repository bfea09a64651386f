import type { AlignedData } from 'uplot'

export interface Series {
  name: string
  /** A colour variable of the theme, without its dashes. */
  color: string
  points: { x: number; y: number }[]
  dots?: boolean
}

/** Put series with different x values on one axis; a resumed run tells some steps twice, and the last word counts. */
export function align(series: Series[]): AlignedData {
  const xs = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b)
  const columns = series.map(({ points }) => {
    const known = new Map(points.map(({ x, y }) => [x, y]))
    return xs.map((x) => known.get(x) ?? null)
  })
  return [xs, ...columns]
}
