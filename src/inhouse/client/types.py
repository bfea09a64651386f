"""What the server answers: plain dictionaries of these shapes. Times are unix seconds."""

from typing import Any, TypedDict


class Problem(TypedDict):
    row: int
    column: str
    message: str


class Preview(TypedDict):
    """What an import would bring."""

    format: str
    form: str
    encoding: str
    columns: list[str]
    mapping: dict[str, str | list[str]]
    count: int
    labels: dict[str, int]
    sample: list[dict[str, Any]]
    problems: list[Problem]
    problem_count: int
    warnings: list[str]


class DatasetVersion(TypedDict):
    dataset: str
    number: int
    reference: str
    digest: str
    parent: int | None
    count: int
    labels: dict[str, int]
    splits: dict[str, int]
    note: str
    owner_id: str
    created_at: float
    form: str
    origin: dict[str, Any]
    erased: int


class Dataset(TypedDict):
    name: str
    versions: list[DatasetVersion]


class Example(TypedDict):
    id: str
    text: str
    label: str
    source: str
    split: str
    meta: dict[str, Any]
    content: dict[str, Any]
    user: str


class Examples(TypedDict):
    """A page of examples, and how many there are."""

    items: list[Example]
    total: int


class DataFormat(TypedDict):
    """A format of import and export; `missing` is the command that installs what it needs."""

    name: str
    titles: dict[str, str]
    forms: list[str]
    suffix: str
    missing: str


class Augmenter(TypedDict):
    """A way of making rows."""

    name: str
    forms: list[str]
    most: int
    settings: dict[str, Any]
    texts: dict[str, dict[str, Any]]


class Alike(TypedDict):
    """Two rows that are nearly or exactly the same in what they ask."""

    first: str
    second: str
    first_text: str
    second_text: str
    first_split: str
    second_split: str
    likeness: float


class LengthBin(TypedDict):
    start: int
    end: int | None
    count: int


class LabelConflict(TypedDict):
    text: str
    labels: list[str]


class DataReport(TypedDict):
    """What a dataset version is like. Lists hold the first 50."""

    count: int
    splits: dict[str, int]
    labels: dict[str, dict[str, int]]
    lengths: list[LengthBin]
    scripts: dict[str, int]
    sources: dict[str, int]
    synthetic: int
    duplicates: int
    near_duplicate_count: int
    near_duplicates: list[Alike]
    leak_count: int
    leaks: list[Alike]
    conflict_count: int
    conflicts: list[LabelConflict]
    threshold: float
    is_complete: bool


class DatasetChange(TypedDict):
    kind: str
    before: Example | None
    after: Example | None


class DatasetDiff(TypedDict):
    """A page of what differs, and how much there is of each kind."""

    added: int
    removed: int
    changed: int
    items: list[DatasetChange]
    total: int


class DatasetMix(TypedDict):
    """A mix; `repeated` and `leaking` training rows of its parts were left out."""

    version: DatasetVersion
    taken: dict[str, int]
    repeated: int
    leaking: int


class AugmentedDataset(TypedDict):
    """A version with `added` rows; `dropped` ones would have repeated or leaked, `failed` calls brought nothing."""

    version: DatasetVersion
    added: int
    dropped: int
    failed: int
    tokens: int
    cost: float | None


class ErasedRows(TypedDict):
    """`versions` have lost the user's rows, `made` are to go on with, `models` were trained on one of them before."""

    rows: int
    tasks: int
    versions: list[str]
    made: list[str]
    models: list[str]


class Recipe(TypedDict):
    name: str
    forms: list[str]
    missing: str
    settings: dict[str, Any]
    texts: dict[str, dict[str, Any]]


class Run(TypedDict):
    """A training run: `status` is queued, running, succeeded, failed or stopped."""

    id: str
    name: str
    recipe: str
    config: dict[str, Any]
    dataset: str
    dataset_version: int
    model: str
    model_version: int | None
    seed: int
    status: str
    attempt: int
    error: str
    metrics: dict[str, Any]
    owner_id: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    processes: int
    study_id: str | None
    trial: int | None


class ComparedLine(TypedDict):
    """A setting or metric: its value in each run, in the order of the runs."""

    name: str
    values: list[Any]
    differs: bool


class RunCurves(TypedDict):
    """Columns of one length each: `step`, `loss` and what else was measured."""

    train: dict[str, list[float | None]]
    dev: dict[str, list[float | None]]


class RunComparison(TypedDict):
    """Runs side by side. `curves` are by the id of the run."""

    runs: list[Run]
    settings: list[ComparedLine]
    metrics: list[ComparedLine]
    curves: dict[str, RunCurves]


class ModelVersion(TypedDict):
    model: str
    number: int
    reference: str
    kind: str
    digest: str
    size_bytes: int
    labels: list[str]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    owner_id: str
    created_at: float
    is_protected: bool
    note: str
    aliases: list[str]


class Model(TypedDict):
    name: str
    aliases: dict[str, int]
    versions: list[ModelVersion]


class ModelSummary(TypedDict):
    name: str
    aliases: dict[str, int]
    newest: ModelVersion


class Span(TypedDict):
    """A marked place: characters `start` to `end`, `end` exclusive."""

    start: int
    end: int
    label: str
    text: str
    score: float


class Prediction(TypedDict, total=False):
    """What a model says of one input; which fields there are follows from its kind.

    A label: `prediction`, `score`, `scores`, `known`, and `labels` where several may be right. Marked places: `spans`.
    A text as numbers: `vector`. How well two texts fit: `score`. A number: `value`.
    """

    prediction: str
    score: float
    scores: dict[str, float]
    known: bool
    labels: list[str]
    spans: list[Span]
    vector: list[float]
    value: float


class Deployment(TypedDict):
    """How a model's traffic is shared: `weights` by version."""

    model: str
    weights: dict[str, float]
    note: str
    created_at: float
    updated_at: float


class KnowledgeBase(TypedDict):
    id: str
    name: str
    description: str
    threshold: float
    created_at: float
    documents: dict[str, int]


class Document(TypedDict):
    """A document: `status` is queued, parsing, indexing, ready or failed."""

    id: str
    name: str
    title: str
    format: str
    status: str
    error: str
    pages: int | None
    chunks: int
    size: int
    seconds: float | None
    digest: str
    attempt: int
    created_at: float


class FoundPassage(TypedDict):
    chunk_id: str
    document_id: str
    document: str
    title: str
    page: int | None
    heading: list[str]
    text: str
    score: float


class Found(TypedDict):
    passages: list[FoundPassage]
    coverage: float
    answerable: bool


class Passage(TypedDict):
    """A passage with what stands before and after it."""

    chunk_id: str
    document_id: str
    document: str
    title: str
    page: int | None
    heading: list[str]
    text: str
    before: str
    after: str


class WorkflowVersion(TypedDict):
    workflow: str
    number: int
    digest: str
    note: str
    owner_id: str
    created_at: float


class Workflow(WorkflowVersion):
    """A version with its graph."""

    graph: dict[str, Any]


class WorkflowRun(TypedDict):
    status: str
    outputs: dict[str, Any]
    trace_id: str
    workflow_version: int
    model_versions: dict[str, int | str]
    duration_ms: float
    error: dict[str, Any] | None


class TraceSummary(TypedDict):
    id: str
    user_id: str
    workflow: str
    workflow_version: int
    app: str
    conversation_id: str
    status: str
    started_at: float
    duration_ms: float
    input: Any
    output: Any
    error: str | None
    model_versions: dict[str, int | str]


class Trace(TraceSummary):
    """A trace with what every step got, gave and took."""

    spans: list[dict[str, Any]]


class Texts(TypedDict):
    en: str
    zh: str


class App(TypedDict):
    name: str
    workflow: str
    title: Texts
    opener: Texts
    suggested: list[Texts]
    created_at: float
    updated_at: float


class Source(TypedDict):
    """A passage behind an answer, which cites it as `[n]` or doesn't."""

    n: int
    document: str
    title: str
    page: int | None
    chunk_id: str
    heading: list[str]
    text: str
    cited: bool


class Intent(TypedDict):
    label: str
    score: float
    known: bool
    model: str
    version: int


class Opinion(TypedDict):
    rating: str
    reason: str | None
    answer: str | None
    label: str | None


class Message(TypedDict):
    """A question and its answer: `status` is succeeded, partial-succeeded, failed or stopped."""

    id: str
    conversation_id: str
    app: str
    query: str
    answer: str
    status: str
    error: dict[str, Any] | None
    sources: list[Source]
    intent: Intent | None
    trace_id: str
    workflow: str
    workflow_version: int
    model_versions: dict[str, int | str]
    fixed_in: dict[str, Any] | None
    feedback: Opinion | None
    created_at: float
    duration_ms: float


class ShortAnswer(TypedDict):
    answer: str
    sources: list[Source]
    message_id: str
    conversation_id: str
    trace_id: str
    model_versions: dict[str, int | str]


class Conversation(TypedDict):
    id: str
    app: str
    title: str
    created_at: float
    updated_at: float


class Feedback(TypedDict):
    """A user's opinion of a message: `status` is open, accepted or rejected."""

    id: str
    user_id: str
    rating: str
    reason: str | None
    answer: str | None
    label: str | None
    status: str
    created_at: float
    message: Message


class LoopState(TypedDict):
    """Counts of every stage, and the one thing to do next."""

    stages: dict[str, dict[str, int]]
    next: dict[str, Any] | None


class NewDataset(TypedDict):
    """A dataset version with the corrections, and those left out since they are test rows."""

    version: DatasetVersion
    held_out: list[str]


class Verdict(TypedDict):
    """What the gate thinks of a candidate: `decision` is promote, hold or reject."""

    id: str
    model: str
    live: int
    candidate: int
    decision: str
    reasons: list[dict[str, Any]]
    created_at: float


class Release(TypedDict):
    id: str
    model: str
    live: int
    candidate: int
    share: float
    status: str
    reason: str
    created_at: float
    ended_at: float | None
    figures: dict[str, dict[str, int]] | None


class Upstream(TypedDict):
    """A connected model server."""

    name: str
    url: str
    has_key: bool
    model: str
    models: list[str]
    created_at: float


class FoundUpstream(TypedDict):
    url: str
    models: list[str]


class LanguageModel(TypedDict):
    """A model that the server runs: `state` is unloaded, loading, loaded, restarting or failed."""

    name: str
    kind: str
    state: str
    error: str
    runtime: str
    path: str
    adapters: dict[str, str]
    version: str
    source: str
    created_at: float


class LanguageRuntime(TypedDict):
    """What models run with; `missing` says what to do before it can be used."""

    name: str
    missing: str


class Me(TypedDict):
    user_id: str
    workspace_id: str
    permissions: list[str]


class User(TypedDict):
    id: str
    name: str
    role: str
    team: str
    disabled: bool
    created_at: float


class Key(TypedDict):
    id: str
    name: str
    scopes: list[str]
    created_at: float
    expires_at: float | None
    owner_id: str
    models: list[str]
    team: str
    priority: int


class NewKey(Key):
    """The only answer that shows the key itself."""

    key: str


class GatewayProblem(TypedDict):
    """Something stored that makes no sense any more, and does not count."""

    what: str
    message: str


class GatewayState(TypedDict):
    """How the gateway is doing."""

    file_error: str
    problems: list[GatewayProblem]
    models: int
    upstreams: int
    in_flight: int
    waiting: int
    breakers: dict[str, str]
    cached: int
    usage_overflowed: int


class Policy(TypedDict):
    """A policy of the gateway; `source` is default, api or toml."""

    name: str
    order: int
    texts: dict[str, Any]
    settings_schema: dict[str, Any]
    settings: dict[str, Any]
    source: str
    is_active: bool


class Target(TypedDict):
    """One model of one server, and how it is doing."""

    upstream: str
    model: str
    weight: float
    arm: str
    in_flight: int
    latency_s: float
    breaker: str


class Arm(TypedDict):
    """What one arm of an experiment has done since the server started."""

    arm: str
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    mean_s: float
    mean_first_token_s: float


class GatewayModel(TypedDict):
    """A model as clients know it; `source` is found, api or toml."""

    name: str
    owner: str
    source: str
    document: dict[str, Any] | None
    targets: list[Target]
    arms: list[Arm]


class Prompt(TypedDict):
    """One version of a prompt."""

    name: str
    version: int
    template: str
    variables: list[str]
    note: str
    is_default: bool
    created_at: float


class Usage(TypedDict):
    """What one key, user, team, model, target or arm has used, or what was used in one hour."""

    name: str
    requests: int
    errors: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


class KeptRequest(TypedDict):
    """A request to a model that the audit kept."""

    time: float
    request_id: str
    status: int
    key: str
    user: str
    team: str
    endpoint: str
    model: str
    target: str
    arm: str
    error: str
    attempts: int
    cache: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost: float | None
    queued_s: float
    first_token_s: float
    total_s: float
    stream: bool
    flags: list[str]


class KeptRequestsVerified(TypedDict):
    """Whether the kept requests are as they were written. `broken` is the first place where they are not."""

    whole: bool
    broken: str


class KeptRequestDetail(KeptRequest):
    """One request, with what was asked and answered."""

    request: Any
    response: Any
    cut: bool


class LabelQueue(TypedDict):
    """Rows to be judged by people. `counts` has the number of rows by status."""

    id: str
    name: str
    dataset: str
    form: str
    labels: list[str]
    multiple: bool
    guidelines: str
    model: str
    annotators: int
    status: str
    owner_id: str
    created_at: float
    counts: dict[str, int]


class LabelAnswer(TypedDict):
    user_id: str
    answer: dict[str, Any]
    seconds: float
    created_at: float


class LabelTask(TypedDict):
    """A row to judge. `prediction` is the model's guess: `{answer, score, model}`."""

    id: str
    text: str
    content: dict[str, Any]
    meta: dict[str, Any]
    status: str
    uncertainty: float
    prediction: dict[str, Any] | None
    final: dict[str, Any] | None
    answers: list[LabelAnswer]


class NextLabelTask(TypedDict):
    task: LabelTask | None
    open: int


class LabelProgress(TypedDict):
    """How a queue is doing. Agreement is None where nobody judged the same row as another."""

    open: int
    review: int
    done: int
    taken: int
    guessed: int
    annotators: dict[str, int]
    agreement: float | None
    alpha: float | None
    span_f1: float | None
    model_agreement: float | None
    median_seconds: float | None


class TakenLabels(TypedDict):
    """What became of the settled rows. `version` is None where the dataset had them all already."""

    version: DatasetVersion | None
    taken: int
    nothing_to_learn: int
    held_out: int


class Lineage(TypedDict):
    """What a version was made from and by, and the digests of its files."""

    reference: str
    lineage: dict[str, Any]
    files: dict[str, Any]


class Variant(TypedDict):
    """A version in another format: `status` is queued, ready, refused or failed."""

    name: str
    status: str
    reason: str
    size_bytes: int
    figures: dict[str, Any]
    created_at: float


class Evaluation(TypedDict):
    """How good a version is on the rows of a split: `status` is queued, ready or failed."""

    id: str
    model: str
    number: int
    dataset: str
    dataset_version: int
    split: str
    status: str
    error: str
    metrics: dict[str, Any]
    owner_id: str
    created_at: float


class EvaluationReport(TypedDict):
    kind: str
    metrics: dict[str, Any]
    per_class: dict[str, dict[str, float]]
    confusion: list[dict[str, Any]]
    reliability: list[dict[str, float]]


class EvaluationRows(TypedDict):
    items: list[dict[str, Any]]
    total: int


class ExplainedToken(TypedDict):
    text: str
    start: int
    end: int
    weight: float
    part: int


class Explanation(TypedDict):
    """Weights of tokens add up to `logit - baseline`, but for `gap`."""

    label: str
    score: float
    logit: float
    baseline: float
    gap: float
    tokens: list[ExplainedToken]


class Comparison(TypedDict):
    """Version `a` minus version `b`."""

    a: str
    b: str
    rows: str
    metrics: dict[str, dict[str, float]]
    per_class: dict[str, dict[str, float]]
    config: dict[str, dict[str, Any]]
    lineage: dict[str, dict[str, Any]]
    test: dict[str, Any]
    fixed: list[dict[str, Any]]
    broken: list[dict[str, Any]]


class Trial(TypedDict):
    """One training of a study. `state` is running, complete, pruned or failed."""

    number: int
    run_id: str
    state: str
    value: float | None
    config: dict[str, Any]


class Study(TypedDict):
    """A search for settings: `status` is queued, running, succeeded, failed or stopped."""

    id: str
    recipe: str
    config: dict[str, Any]
    space: dict[str, Any]
    dataset: str
    dataset_version: int
    model: str
    seed: int
    objective: str
    budget: dict[str, Any]
    status: str
    error: str
    best_run: str | None
    model_version: int | None
    owner_id: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    trials: list[Trial]
