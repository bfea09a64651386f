export const PROGRAMS = ['curl', 'python', 'dify'] as const
export type Program = (typeof PROGRAMS)[number]

/** How a program asks a model here. Dify has no code: these are the fields of its form. */
export function snippet(program: Exclude<Program, 'dify'>, base: string, model: string): string {
  return program === 'curl' ? curl(base, model) : python(base, model)
}

const quoted = (text: string) => JSON.stringify(text)

function curl(base: string, model: string): string {
  return `curl ${base}/chat/completions \\
  -H "Authorization: Bearer $INHOUSE_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model": ${quoted(model)}, "messages": [{"role": "user", "content": "Hello"}]}'`
}

function python(base: string, model: string): string {
  return `from openai import OpenAI

client = OpenAI(base_url=${quoted(base)}, api_key="YOUR KEY")
stream = client.chat.completions.create(
    model=${quoted(model)},
    messages=[{"role": "user", "content": "Hello"}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="")`
}
