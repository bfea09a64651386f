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

/** The same text in each language. */
export type Texts = Partial<Record<'en' | 'zh', string>>

export interface ChatApp {
  name: string
  workflow: string
  title: Texts
  opener: Texts
  suggested: Texts[]
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
  heading: string[]
  text: string
  cited: boolean
}

export interface Intent {
  label: string
  score: number
  known: boolean
  model: string
  version: number
}

export interface Opinion {
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
  status: string
  error: { message: string; hint: string } | null
  sources: Source[]
  intent: Intent | null
  trace_id: string
  workflow_version: number
  model_versions: Record<string, number | string>
  created_at: number
  duration_ms: number
  feedback: Opinion | null
  fixed_in: { model: string; version: number } | null
}

export interface FoundPassage {
  chunk_id: string
  document_id: string
  document: string
  title: string
  page: number | null
  heading: string[]
  text: string
  score: number
}

export interface Passage extends Omit<FoundPassage, 'score'> {
  before: string
  after: string
}

// --- loop -----------------------------------------------------------------------------------------------------------

export const STAGES = ['data', 'training', 'model', 'serving', 'app', 'feedback'] as const
export type Stage = (typeof STAGES)[number]

export type NextAction = 'upload' | 'train' | 'deploy' | 'promote' | 'release' | 'gate' | 'retrain' | 'triage' | 'ask'

export interface LoopState {
  stages: Record<Stage, { count: number; detail: number }>
  next: { action: NextAction; count: number; model: string; version: number } | null
}

export type FeedbackStatus = 'open' | 'accepted' | 'rejected'

export interface FeedbackItem {
  id: string
  message: Message
  rating: 'up' | 'down'
  reason: string | null
  answer: string | null
  label: string | null
  status: FeedbackStatus
  created_at: number
}

export type Decision = 'promote' | 'hold' | 'reject'

export const REASONS = [
  'test_worse',
  'test_kept',
  'classes_kept',
  'classes_fallen',
  'golden_broken',
  'golden_some_broken',
  'golden_kept',
  'no_proof',
] as const

export interface Reason {
  code: (typeof REASONS)[number]
  decision: Decision
  figures: Record<string, unknown>
}

export interface Verdict {
  id: string
  model: string
  live: number
  candidate: number
  decision: Decision
  reasons: Reason[]
  created_at: number
}

export interface Release {
  id: string
  model: string
  live: number
  candidate: number
  share: number
  status: 'canary' | 'promoted' | 'rolled_back'
  reason: string
  created_at: number
  ended_at: number | null
  figures: Record<'live' | 'candidate', Arm> | null
}

/** What became of one version's answers during a canary. */
export interface Arm {
  answers: number
  errors: number
  down_votes: number
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
  owner_id: string
  created_at: number
  form: string
  origin: Record<string, unknown>
  erased: number
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
  form: string
  encoding: string
  columns: string[]
  mapping: Record<string, string | string[]>
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
  content: Record<string, unknown>
  user: string
}

/** A format for import and export. `missing` is the command that installs what it needs. */
export interface DataFormat {
  name: string
  titles: Partial<Record<'en' | 'zh', string>>
  forms: string[]
  suffix: string
  missing: string
}

export interface Alike {
  first_text: string
  second_text: string
  first_split: string
  second_split: string
  likeness: number
}

/** What a dataset version is like. Lists hold the first 50. */
export interface DataReport {
  count: number
  splits: Record<string, number>
  labels: Record<string, Record<string, number>>
  lengths: { start: number; end: number | null; count: number }[]
  scripts: Record<string, number>
  sources: Record<string, number>
  synthetic: number
  duplicates: number
  near_duplicate_count: number
  near_duplicates: Alike[]
  leak_count: number
  leaks: Alike[]
  conflict_count: number
  conflicts: { text: string; labels: string[] }[]
  is_complete: boolean
}

export interface DataDiff {
  added: number
  removed: number
  changed: number
  items: { kind: 'added' | 'removed' | 'changed'; before: Example | null; after: Example | null }[]
  total: number
}

/** A way of making rows: its settings as JSON schema, its texts by language. */
export interface Augmenter {
  name: string
  forms: string[]
  settings: { properties?: Record<string, SchemaField>; required?: string[] }
  texts: Partial<Record<'en' | 'zh', { title: string; description: string; fields: Record<string, string> }>>
}

export interface Augmented {
  version: DatasetVersion
  added: number
  dropped: number
  failed: number
  tokens: number
  cost: number | null
}

export interface Mixed {
  version: DatasetVersion
  taken: Record<string, number>
  repeated: number
  leaking: number
}

export interface Erased {
  rows: number
  /** Rows that waited to be labelled. */
  tasks: number
  versions: string[]
  made: string[]
  models: string[]
}

// --- training -------------------------------------------------------------------------------------------------------

export interface SchemaField {
  anyOf?: SchemaField[]
  type?: string
  default?: unknown
  enum?: string[]
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  maxLength?: number
}

interface FieldText {
  title: string
  description: string
}

export interface Recipe {
  name: string
  /** The forms of rows that it learns from. */
  forms: string[]
  /** The command that installs what it needs; empty when all is there. */
  missing: string
  texts: Record<'en' | 'zh', FieldText & { fields: Record<string, FieldText> }>
  settings: { properties?: Record<string, SchemaField> }
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
  error: string
  metrics: Metrics
  seed: number
  attempt: number
  processes: number
  study_id: string | null
  trial: number | null
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

/** What a model was found to be worth: figures by name, and what belongs to its kind. */
export interface Metrics {
  accuracy?: number
  macro_f1?: number
  ece?: number
  per_class?: Record<string, ClassMetrics>
  confusions?: { label: string; predicted: string; count: number; text: string }[]
  micro?: ClassMetrics
  overlap?: ClassMetrics
  matching?: ClassMetrics
  oos?: Record<string, number | null>
  out_of_scope?: Record<string, number | null>
  robustness?: Record<string, number | { accuracy: number; drop: number }>
  golden?: { count: number; passed: number; failed: ErrorRow[] }
  importance?: Record<string, number>
  base?: Record<string, number>
  [figure: string]: unknown
}

export interface RunEvent {
  seq: number
  ts: number
  type: string
  step?: number
  steps?: number
  epoch?: number
  loss?: number
  lr?: number
  grad_norm?: number | null
  examples_per_s?: number
  tokens_per_s?: number
  memory_mb?: number
  eta_s?: number
  message?: string
  split?: string
  accuracy?: number
}

// --- models and serving ---------------------------------------------------------------------------------------------

export interface ModelVersion {
  model: string
  number: number
  reference: string
  kind: string
  digest: string
  size_bytes: number
  labels: string[]
  metrics: Metrics
  lineage: Record<string, unknown>
  created_at: number
  is_protected: boolean
  note: string
  aliases: string[]
}

export interface ModelSummary {
  name: string
  aliases: Record<string, number>
  newest: ModelVersion
}

export interface Model {
  name: string
  aliases: Record<string, number>
  versions: ModelVersion[]
}

export interface Deployment {
  model: string
  weights: Record<string, number>
  note: string
  updated_at: number
}

// --- knowledge ------------------------------------------------------------------------------------------------------

export type DocumentStatus = 'queued' | 'parsing' | 'indexing' | 'ready' | 'failed'

export interface KnowledgeBase {
  name: string
  description: string
  threshold: number
  documents: Partial<Record<DocumentStatus, number>>
  created_at: number
}

export interface KnowledgeDocument {
  id: string
  name: string
  title: string
  format: string
  status: DocumentStatus
  error: string
  pages: number | null
  chunks: number
  size: number
  seconds: number | null
  created_at: number
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
  ended_at: number | null
  status: string
  input: unknown
  output: unknown
  error: string | null
  attributes: Record<string, unknown>
}

export interface TraceSummary {
  id: string
  workflow: string
  workflow_version: number
  app: string
  conversation_id: string
  status: string
  started_at: number
  duration_ms: number
  input: unknown
  output: unknown
  model_versions: Record<string, number | string>
  error: string | null
}

export interface Trace extends TraceSummary {
  spans: Span[]
}

// --- gateway and keys -----------------------------------------------------------------------------------------------

export interface Upstream {
  name: string
  url: string
  has_key: boolean
  model: string
  models: string[]
  created_at: number
}

/** A model server that answered, not connected yet. */
export interface FoundServer {
  url: string
  models: string[]
}

export interface ApiKey {
  id: string
  name: string
  scopes: string[]
  created_at: number
  expires_at: number | null
  owner_id: string
  models: string[]
  team: string
  priority: number
}

export interface NewApiKey extends ApiKey {
  key: string
}

export interface GatewayState {
  /** Why the settings file cannot be used; what it said before holds. */
  file_error: string
  problems: { what: string; message: string }[]
  models: number
  upstreams: number
  in_flight: number
  waiting: number
  breakers: Record<string, string>
  cached: number
  usage_overflowed: number
}

/** A JSON schema, as far as forms are drawn from it. */
export interface JsonSchema {
  $ref?: string
  $defs?: Record<string, JsonSchema>
  anyOf?: JsonSchema[]
  type?: string
  title?: string
  description?: string
  default?: unknown
  enum?: string[]
  const?: unknown
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  maxLength?: number
  maxItems?: number
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: JsonSchema | boolean
  items?: JsonSchema
}

/** Where something of the gateway comes from: the code, an administrator, the settings file, or a server. */
export type GatewaySource = 'default' | 'api' | 'toml' | 'found'

export interface PolicyTexts {
  title?: string
  description?: string
  settings?: Record<string, string>
}

export interface GatewayPolicy {
  name: string
  order: number
  texts: Partial<Record<'en' | 'zh', PolicyTexts>>
  settings_schema: JsonSchema
  settings: Record<string, unknown>
  source: GatewaySource
  is_active: boolean
}

export const BALANCES = ['weighted', 'least-loaded', 'sticky'] as const

export interface RouteTarget {
  upstream: string
  model: string
  weight: number
  arm: string
}

export interface RouteShadow {
  upstream: string
  model: string
  share: number
}

export interface RouteDocument {
  targets: RouteTarget[]
  balance: (typeof BALANCES)[number]
  fallbacks: string[]
  shadow: RouteShadow[]
  prompt: string
  aliases: string[]
}

export interface GatewayTarget extends RouteTarget {
  in_flight: number
  latency_s: number
  breaker: string
}

export interface GatewayArm {
  arm: string
  requests: number
  errors: number
  prompt_tokens: number
  completion_tokens: number
  cost: number
  mean_s: number
  mean_first_token_s: number
}

export interface GatewayModel {
  name: string
  owner: string
  source: GatewaySource
  document: RouteDocument | null
  targets: GatewayTarget[]
  arms: GatewayArm[]
}

export interface Prompt {
  name: string
  version: number
  template: string
  variables: string[]
  note: string
  is_default: boolean
  created_at: number
}

export const USAGE_BY = ['model', 'key', 'user', 'team', 'target', 'arm', 'hour'] as const
export type UsageBy = (typeof USAGE_BY)[number]

export interface Usage {
  /** The key, user, team, model, target or arm; for hours, when they began, in unix seconds. */
  name: string
  requests: number
  errors: number
  cached: number
  prompt_tokens: number
  completion_tokens: number
  cost: number
}

export interface UsageList extends Items<Usage> {
  currency: string
}

/** A request that the audit kept. */
export interface KeptRequest {
  time: number
  request_id: string
  status: number
  key: string
  user: string
  team: string
  endpoint: string
  model: string
  target: string
  arm: string
  error: string
  attempts: number
  cache: string
  prompt_tokens: number
  completion_tokens: number
  estimated: boolean
  cost: number | null
  queued_s: number
  first_token_s: number
  total_s: number
  stream: boolean
  flags: string[]
}

export interface KeptRequestDetail extends KeptRequest {
  request: unknown
  response: unknown
  cut: boolean
}

export interface KeptRequestPage extends Items<KeptRequest> {
  next: string
}

/** A language model, encoder or reranker that this server runs. */
export interface LanguageModel {
  name: string
  kind: string
  state: string
  error: string
  runtime: string
  path: string
  adapters: Record<string, string>
  version: string
  source: string
  created_at: number
}

export interface LanguageModelList extends Items<LanguageModel> {
  /** What could run models, and what to do before it can be used: empty where nothing. */
  runtimes: { name: string; missing: string }[]
}

/** What an annotator says of a row: the one field that the queue's form asks for. */
export interface LabelAnswer {
  label?: string
  labels?: string[]
  spans?: { start: number; end: number; label: string }[]
  score?: number
  choice?: 'first' | 'second' | 'tie'
  good?: boolean
  text?: string
}

export interface LabelQueue {
  id: string
  name: string
  dataset: string
  form: 'text' | 'spans' | 'pair' | 'preference' | 'rating' | 'chat'
  labels: string[]
  multiple: boolean
  guidelines: string
  model: string
  annotators: number
  status: string
  created_at: number
  counts: Record<string, number>
}

export interface LabelTask {
  id: string
  text: string
  content: Record<string, unknown>
  status: string
  uncertainty: number
  prediction: { answer: LabelAnswer; score: number; model: string } | null
  final: LabelAnswer | null
  answers: { user_id: string; answer: LabelAnswer; seconds: number }[]
}

export interface NextLabelTask {
  task: LabelTask | null
  open: number
}

export interface LabelProgress {
  open: number
  review: number
  done: number
  taken: number
  guessed: number
  annotators: Record<string, number>
  agreement: number | null
  alpha: number | null
  span_f1: number | null
  model_agreement: number | null
  median_seconds: number | null
}

export interface TakenLabels {
  version: DatasetVersion | null
  taken: number
  nothing_to_learn: number
  held_out: number
}

/** A setting or metric of compared runs: its value in each, in their order. */
export interface ComparedLine {
  name: string
  values: unknown[]
  differs: boolean
}

export type CurveColumns = Record<string, (number | null)[]>

export interface RunComparison {
  runs: Run[]
  settings: ComparedLine[]
  metrics: ComparedLine[]
  curves: Record<string, Record<'train' | 'dev', CurveColumns>>
}

export interface Trial {
  number: number
  run_id: string
  state: 'running' | 'complete' | 'pruned' | 'failed'
  value: number | null
  config: Record<string, unknown>
}

/** A search for the best settings of a recipe. */
export interface Study {
  id: string
  recipe: string
  config: Record<string, unknown>
  space: Record<string, { low?: number | null; high?: number | null; log?: boolean; choices?: unknown[] }>
  dataset: string
  dataset_version: number
  model: string
  seed: number
  objective: 'accuracy' | 'loss'
  budget: { trials: number; minutes: number; parallel: number; pruner: string }
  status: 'queued' | 'running' | 'stopping' | 'succeeded' | 'failed' | 'stopped'
  error: string
  best_run: string | null
  model_version: number | null
  created_at: number
  started_at: number | null
  ended_at: number | null
  trials: Trial[]
}

/** A version in another format, with what was measured of it. */
export interface Variant {
  name: string
  status: 'queued' | 'ready' | 'refused' | 'failed'
  reason: string
  size_bytes: number
  figures: Record<string, number | string>
  created_at: number
}

export interface Evaluation {
  id: string
  model: string
  number: number
  dataset: string
  dataset_version: number
  split: string
  status: 'queued' | 'ready' | 'failed'
  error: string
  metrics: Metrics
  created_at: number
}

export interface ConfusionCell {
  label: string
  predicted: string
  count: number
}

/** The answers whose confidence lies between `low` and `high`. */
export interface ReliabilityBin {
  low: number
  high: number
  count: number
  confidence: number
  accuracy: number
}

export interface EvaluationReport {
  kind: string
  metrics: Metrics
  per_class: Record<string, ClassMetrics>
  confusion: ConfusionCell[]
  reliability: ReliabilityBin[]
}

/** A marked or found place of a text, counted in characters. */
export interface TextSpan {
  start: number
  end: number
  label: string
  text?: string
  score?: number
}

/** A row of an evaluation: of a classifier with its label, of a tagger with its spans. */
export interface ErrorRow {
  id: string
  text: string
  correct: boolean
  label?: string
  predicted?: string
  score?: number
  label_score?: number
  known?: boolean
  golden?: boolean
  marked?: TextSpan[]
  found?: TextSpan[]
}

export interface ErrorRows extends Items<ErrorRow> {
  total: number
}

export interface TokenWeight {
  text: string
  start: number
  end: number
  weight: number
  part: number
}

export interface Explanation {
  label: string
  score: number
  logit: number
  baseline: number
  gap: number
  tokens: TokenWeight[]
}

type Both = Record<'a' | 'b' | 'difference', number>

export interface VersionComparison {
  a: string
  b: string
  rows: string
  metrics: Record<string, Both>
  per_class: Record<string, Both>
  config: Record<string, { a: unknown; b: unknown }>
  lineage: Record<string, { a: unknown; b: unknown }>
  test: Partial<Record<'rows' | 'p' | 'difference' | 'low' | 'high' | 'only_a' | 'only_b', number>>
  fixed: ComparedRow[]
  broken: ComparedRow[]
}

export interface ComparedRow {
  id: string
  text: string
  label: string
  a: string
  b: string
}

/** What a model says of one input; which parts there are depends on its kind. */
export interface PredictionRow {
  model: string
  model_version: number
  prediction?: string
  labels?: string[]
  score?: number
  scores?: Record<string, number>
  known?: boolean
  spans?: TextSpan[]
  vector?: number[]
  value?: number
}
