/** The shapes that travel between the console and `/api/v1`. Times are unix seconds. */

export interface Items<T> {
  items: T[]
}

export interface User {
  user_id: string
  workspace_id: string
  permissions: string[]
}

// --- apps -----------------------------------------------------------------------------------------------------------

export interface ChatApp {
  name: string
  title: string
  workflow: string
  opener: Partial<Record<'en' | 'zh', string>>
  suggested: string[]
}

export interface Conversation {
  id: string
  app: string
  title: string
  updated_at: number
}

export interface Source {
  n: number
  chunk_id: string
  document: string
  title: string
  page: number | null
  quote: string
}

export interface Intent {
  label: string
  score: number
  known: boolean
}

export interface MessageFeedback {
  rating: 'up' | 'down' | null
  reason?: string | null
  answer?: string | null
  label?: string | null
}

export interface Message {
  id: string
  conversation_id: string
  query: string
  answer: string
  sources: Source[]
  trace_id: string
  workflow_version: number | null
  model_versions: Record<string, number>
  intent: Intent | null
  status: string
  created_at: number
  feedback: MessageFeedback | null
  fixed_in: number | null
}

export interface Passage {
  document: string
  title: string
  page: number | null
  heading: string
  text: string
  before: string
  after: string
}

// --- loop -----------------------------------------------------------------------------------------------------------

export const STAGES = ['data', 'training', 'model', 'serving', 'app', 'feedback'] as const
export type Stage = (typeof STAGES)[number]

export type NextAction = 'connect' | 'upload' | 'train' | 'ask' | 'triage' | 'retrain' | 'gate' | 'promote'

export interface LoopState {
  stages: Record<Stage, { count: number; detail: number }>
  next: { action: NextAction; count: number } | null
}

export interface FeedbackItem {
  id: string
  message_id: string
  model: string
  query: string
  answer: string
  rating: 'up' | 'down' | null
  reason: string | null
  corrected_answer: string | null
  label: string | null
  predicted: Intent | null
  model_version: number | null
  status: string
  trace_id: string
  created_at: number
}

export interface Verdict {
  id: string
  model: string
  live: number
  candidate: number
  decision: 'PROMOTE' | 'HOLD' | 'REJECT'
  reasons: string[]
  created_at: number
}

export interface Release {
  id: string
  model: string
  version: number
  previous: number
  share: number
  status: string
  created_at: number
}

// --- data -----------------------------------------------------------------------------------------------------------

export interface DatasetVersion {
  dataset: string
  number: number
  reference: string
  digest: string
  parent: number | null
  count: number
  labels: Record<string, number>
  splits: Record<string, number>
  note: string
  created_at: number
}

export interface Dataset {
  name: string
  versions: DatasetVersion[]
}

export interface Problem {
  row: number
  column: string
  message: string
}

export interface Preview {
  format: string
  encoding: string
  columns: string[]
  mapping: Record<string, string>
  count: number
  labels: Record<string, number>
  sample: Record<string, unknown>[]
  problems: Problem[]
  problem_count: number
  warnings: string[]
}

export interface Example {
  id: string
  text: string
  label: string
  source: string
  split: string
}

// --- training -------------------------------------------------------------------------------------------------------

export interface SchemaField {
  type?: string
  title?: string
  description?: string
  default?: unknown
  enum?: unknown[]
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
}

export interface Recipe {
  name: string
  title: string
  description: string
  schema: { properties: Record<string, SchemaField> }
}

export interface Run {
  id: string
  name: string
  recipe: string
  config: Record<string, unknown>
  dataset: string
  dataset_version: number
  model: string
  model_version: number | null
  status: 'queued' | 'running' | 'succeeded' | 'failed' | 'stopped'
  error: string | null
  metrics: Metrics | null
  seed: number
  created_at: number
  started_at: number | null
  ended_at: number | null
}

export interface ClassMetrics {
  precision: number
  recall: number
  f1: number
  support: number
}

export interface Metrics {
  accuracy?: number
  macro_f1?: number
  ece?: number
  per_class?: Record<string, ClassMetrics>
  confusion?: { actual: string; predicted: string; count: number }[]
}

export interface RunEvent {
  seq: number
  ts: number
  type: string
  step?: number
  epoch?: number
  loss?: number
  lr?: number
  examples_per_s?: number
  eta_s?: number
  split?: string
  accuracy?: number
  metrics?: Metrics
  message?: string
}

// --- models and serving ---------------------------------------------------------------------------------------------

export interface ModelVersion {
  version: number
  kind: string
  digest: string
  metrics: Metrics
  labels: string[]
  lineage: Record<string, unknown>
  created_at: number
  size_bytes: number
}

export interface Model {
  name: string
  aliases: Record<string, number>
  versions: ModelVersion[]
}

export interface Deployment {
  model: string
  weights: Record<string, number>
  updated_at: number
}

// --- knowledge ------------------------------------------------------------------------------------------------------

export interface KnowledgeBase {
  name: string
  description: string
  documents: number
  chunks: number
  created_at: number
}

export interface KnowledgeDocument {
  id: string
  name: string
  format: string
  status: 'queued' | 'parsing' | 'indexing' | 'ready' | 'failed'
  error: string | null
  pages: number | null
  chunks: number | null
  size: number
  seconds: number | null
  created_at: number
}

export interface FoundPassage {
  chunk_id: string
  document: string
  title: string
  page: number | null
  heading: string
  text: string
  score: number
}

export interface SearchResult {
  passages: FoundPassage[]
  coverage: number
  answerable: boolean
}

// --- traces ---------------------------------------------------------------------------------------------------------

export interface Span {
  id: string
  parent_id: string | null
  name: string
  kind: string
  started_at: number
  ended_at: number
  status: string
  input: unknown
  output: unknown
  attributes: Record<string, unknown>
}

export interface TraceSummary {
  id: string
  workflow: string
  version: number
  app: string | null
  status: string
  started_at: number
  duration_ms: number
  input: string
  output: string
  model_versions: Record<string, number>
  error: string | null
}

export interface Trace extends TraceSummary {
  spans: Span[]
}

// --- gateway and keys -----------------------------------------------------------------------------------------------

export interface Upstream {
  name: string
  url: string
  models: string[]
  enabled: boolean
}

export interface Discovered {
  name: string
  url: string
  models: string[]
}

export interface ApiKey {
  id: string
  name: string
  scopes: string[]
  created_at: number
  expires_at: number | null
}

export interface NewApiKey extends ApiKey {
  key: string
}
