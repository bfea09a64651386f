export interface Rows {
  rows: object[]
  /** The first line that is no JSON object, counted from 1; 0 when all are. */
  wrong: number
}

/** A row of each form that is more than a text, to be written like. */
export const SAMPLES: Record<string, string> = {
  pair: '{"text": "…", "content": {"other": "…"}}',
  preference: '{"text": "…", "content": {"messages": [{"role": "user", "content": "…"}], "answers": ["…", "…"]}}',
  rating: '{"text": "…", "content": {"messages": [{"role": "user", "content": "…"}], "answer": "…"}}',
  chat: '{"text": "…", "content": {"messages": [{"role": "user", "content": "…"}], "answer": "…"}}',
}

/** What somebody typed, one row a line: plain texts, or JSON for rows that are more than a text. */
export function rowsOf(lines: string, isPlain: boolean): Rows {
  const rows: object[] = []
  for (const [index, line] of lines.split('\n').entries()) {
    if (!line.trim()) continue
    const row = isPlain ? { text: line.trim() } : parsed(line)
    if (!row) return { rows, wrong: index + 1 }
    rows.push(row)
  }
  return { rows, wrong: 0 }
}

function parsed(line: string): object | undefined {
  try {
    const row: unknown = JSON.parse(line)
    return typeof row === 'object' && row !== null && !Array.isArray(row) ? row : undefined
  } catch {
    return undefined
  }
}
