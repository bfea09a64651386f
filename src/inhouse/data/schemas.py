"""Wire shapes of datasets."""

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from inhouse.data.changes import Change
from inhouse.data.curation import Edit, Part
from inhouse.data.examples import Example
from inhouse.data.filters import Filter
from inhouse.data.reading import Preview
from inhouse.data.report import Report
from inhouse.data.store import DatasetVersion


class ProblemOut(BaseModel):
    row: int
    column: str
    message: str


class PreviewOut(BaseModel):
    """What an import would bring; nothing is stored."""

    format: str
    form: str
    encoding: str
    columns: list[str]
    mapping: dict[str, str | list[str]]
    count: int
    labels: dict[str, int]
    sample: list[dict[str, Any]]
    problems: list[ProblemOut]
    problem_count: int
    warnings: list[str]

    @classmethod
    def of(cls, preview: Preview) -> Self:
        values = {name: getattr(preview, name) for name in cls.model_fields if name != "problems"}
        return cls(**values, problems=[ProblemOut(**asdict(problem)) for problem in preview.problems])


class VersionOut(BaseModel):
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

    @classmethod
    def of(cls, version: DatasetVersion) -> Self:
        return cls(**asdict(version), reference=version.reference)


class DatasetList(BaseModel):
    items: list[VersionOut]


class DatasetOut(BaseModel):
    name: str
    versions: list[VersionOut]


class ExampleIn(BaseModel):
    """A row. Which of the fields it needs follows from the form of the dataset; `content` is what else the form has."""

    model_config = ConfigDict(str_strip_whitespace=True)

    text: str | None = Field(default=None, min_length=1, max_length=1_000_000)
    label: str | None = Field(default=None, min_length=1, max_length=200)
    content: dict[str, Any] = Field(default={}, description="What the form has besides text and label.")
    meta: dict[str, Any] = Field(default={}, description="Anything worth keeping.")
    user: str = Field(default="", max_length=200, description="Whose words they are, so that they can be erased.")

    def row(self, source: str) -> dict[str, Any]:
        given = {name: value for name, value in (("text", self.text), ("label", self.label)) if value is not None}
        content = dict(self.content)
        labels = content.pop("labels", None)
        about = {"source": source, "meta": self.meta, "user": self.user}
        return {**content, **given, **({"label": labels} if labels else {}), **about}


class NewVersion(BaseModel):
    examples: list[ExampleIn] = Field(min_length=1, max_length=100_000)
    note: str = Field(default="", max_length=2000)
    parent: int | None = Field(default=None, ge=1, description="The version to build on; the newest when absent.")


class ExampleOut(BaseModel):
    id: str
    text: str
    label: str
    source: str
    split: str
    meta: dict[str, Any]
    content: dict[str, Any]
    user: str

    @classmethod
    def of(cls, example: Example) -> Self:
        return cls(**example.wire())


class ExampleList(BaseModel):
    items: list[ExampleOut]
    total: int


class FilterIn(BaseModel):
    """Conditions that a row has to meet; those left out don't count."""

    labels: list[str] = Field(default=[], max_length=1000, description="Has one of these labels.")
    without_labels: list[str] = Field(default=[], max_length=1000, description="Has none of these labels.")
    splits: list[Literal["train", "dev", "test"]] = Field(default=[], description="Is in one of these splits.")
    sources: list[str] = Field(default=[], max_length=100, description="Comes from there: feedback, synthetic:typo, …")
    synthetic: bool | None = Field(default=None, description="Was made up, or was not.")
    search: str = Field(default="", max_length=1000, description="Is in the text.")
    min_length: int = Field(default=0, ge=0, description="Has at least so many characters.")
    max_length: int | None = Field(default=None, ge=0, description="Has at most so many characters.")

    def chosen(self) -> Filter:
        return Filter(**{name: getattr(self, name) for name in FilterIn.model_fields})


class NewFiltered(BaseModel):
    filter: FilterIn
    version: int | None = Field(default=None, ge=1, description="The version to start from; the newest when absent.")
    note: str = Field(default="", max_length=2000)


class EditIn(BaseModel):
    """What to change about a row; what is left out stays."""

    id: str = Field(min_length=1, max_length=64)
    text: str | None = Field(default=None, min_length=1, max_length=1_000_000)
    label: str | None = Field(default=None, min_length=1, max_length=200)
    content: dict[str, Any] | None = None
    remove: bool = False


class NewEdited(BaseModel):
    edits: list[EditIn] = Field(min_length=1, max_length=100_000)
    version: int | None = Field(default=None, ge=1, description="The version to start from; the newest when absent.")
    note: str = Field(default="", max_length=2000)

    def wanted(self) -> list[Edit]:
        return [Edit(**edit.model_dump()) for edit in self.edits]


class PartIn(BaseModel):
    dataset: str = Field(min_length=1, max_length=120)
    version: int | None = Field(default=None, ge=1, description="The newest when absent.")
    share: float = Field(gt=0, le=100, description="Share of the training rows: parts of 1, or percent.")


class NewMix(BaseModel):
    name: str = Field(description="The dataset to make, or whose next version to make.")
    parts: list[PartIn] = Field(min_length=1, max_length=20)
    size: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Training rows; as many as can be if absent."
    )
    seed: int = Field(default=0, ge=0, le=2**31)
    note: str = Field(default="", max_length=2000)

    def wanted(self) -> list[Part]:
        return [Part(part.dataset, part.version, part.share) for part in self.parts]


class MixOut(BaseModel):
    """The mix; `repeated` and `leaking` training rows of its parts were left out."""

    version: VersionOut
    taken: dict[str, int]
    repeated: int
    leaking: int


class NewAugmented(BaseModel):
    how: str = Field(max_length=64)
    settings: dict[str, Any] = {}
    count: int = Field(ge=1, le=100_000, description="Most new rows.")
    version: int | None = Field(default=None, ge=1, description="The version to start from; the newest when absent.")
    seed: int = Field(default=0, ge=0, le=2**31)
    note: str = Field(default="", max_length=2000)


class AugmentedOut(BaseModel):
    """The version with `added` rows. `dropped` ones would have repeated or leaked; `failed` calls brought nothing."""

    version: VersionOut
    added: int
    dropped: int
    failed: int
    tokens: int
    cost: float | None


class EraseIn(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)

    user: str = Field(min_length=1, max_length=200)


class ErasedOut(BaseModel):
    """Every version in `versions` has lost the user's rows; `models` were trained on one of them before.

    `tasks` rows waited to be labelled.
    """

    rows: int
    tasks: int
    versions: list[str]
    made: list[str]
    models: list[str]


class ChangeOut(BaseModel):
    kind: Literal["added", "removed", "changed"]
    before: ExampleOut | None
    after: ExampleOut | None

    @classmethod
    def of(cls, change: Change) -> Self:
        before, after = (ExampleOut.of(row) if row else None for row in (change.before, change.after))
        return cls(kind=change.kind, before=before, after=after)


class DiffOut(BaseModel):
    """A page of what differs, and how much there is of each kind."""

    added: int
    removed: int
    changed: int
    items: list[ChangeOut]
    total: int


class BinOut(BaseModel):
    start: int
    end: int | None
    count: int


class AlikeOut(BaseModel):
    first: str
    second: str
    first_text: str
    second_text: str
    first_split: str
    second_split: str
    likeness: float


class ConflictOut(BaseModel):
    text: str
    labels: list[str]


class ReportOut(BaseModel):
    """What a version is like. Lists hold the first 50."""

    count: int
    splits: dict[str, int]
    labels: dict[str, dict[str, int]]
    lengths: list[BinOut]
    scripts: dict[str, int]
    sources: dict[str, int]
    synthetic: int
    duplicates: int
    near_duplicate_count: int
    near_duplicates: list[AlikeOut]
    leak_count: int
    leaks: list[AlikeOut]
    conflict_count: int
    conflicts: list[ConflictOut]
    threshold: float
    is_complete: bool

    @classmethod
    def of(cls, report: Report) -> Self:
        return cls(**asdict(report))


class FormatOut(BaseModel):
    """A format for import and export. `missing` is the command that installs what it needs."""

    name: str
    titles: dict[str, str]
    forms: list[str]
    suffix: str
    missing: str


class FormatList(BaseModel):
    items: list[FormatOut]


class AugmenterOut(BaseModel):
    """A way of making rows: its settings as JSON schema, its texts by language."""

    name: str
    forms: list[str]
    most: int
    settings: dict[str, Any]
    texts: dict[str, dict[str, Any]]


class AugmenterList(BaseModel):
    items: list[AugmenterOut]
