/** The kinds of models, and what can be done with each. Kinds that a plug-in brought can do none of it here. */

export const KINDS = ['classify', 'tag', 'embed', 'rerank', 'chat', 'adapter', 'tabular'] as const
export type Kind = (typeof KINDS)[number]

const ENCODED = ['onnx', 'int8', 'torchscript', 'torch_export', 'fp16', 'bf16'] as const
export const VARIANTS: Partial<Record<string, readonly string[]>> = { classify: ENCODED, tag: ENCODED, embed: ENCODED, rerank: ENCODED }

export const canEvaluate = (kind: string) => kind === 'classify' || kind === 'tag'
export const canExplain = (kind: string) => kind === 'classify' || kind === 'rerank'
export const isLanguage = (kind: string) => kind === 'chat' || kind === 'adapter'
export const isKind = (kind: string): kind is Kind => (KINDS as readonly string[]).includes(kind)
