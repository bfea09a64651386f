"""Wire shapes of labelling."""

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inhouse.data.examples import Example, Form
from inhouse.data.labelling.queues import Progress, Taken
from inhouse.data.labelling.store import Given, Queue, Task
from inhouse.data.schemas import VersionOut

Label = str


class NewQueue(BaseModel):
    """What is asked about each row, and which dataset the answers go to."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=100)
    dataset: str = Field(min_length=1, max_length=100, description="Where settled rows go; made when it is not there.")
    form: Form = Form.TEXT
    labels: list[Label] = Field(default_factory=list, max_length=1000, description="Empty: those of the dataset.")
    multiple: bool = Field(default=False, description="Whether a text may have several labels.")
    guidelines: str = Field(default="", max_length=20_000, description="What annotators see beside each row.")
    model: str = Field(default="", max_length=200, description="A deployed model that guesses first.")
    annotators: int = Field(default=1, ge=1, le=20, description="How many people judge each row.")


class QueueChange(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    labels: list[Label] | None = Field(default=None, max_length=1000)
    guidelines: str | None = Field(default=None, max_length=20_000)
    model: str | None = Field(default=None, max_length=200)
    annotators: int | None = Field(default=None, ge=1, le=20)
    status: Literal["open", "closed"] | None = None


class QueueOut(BaseModel):
    id: str
    name: str
    dataset: str
    form: Form
    labels: list[str]
    multiple: bool
    guidelines: str
    model: str
    annotators: int
    status: str
    owner_id: str
    created_at: float
    counts: dict[str, int]

    @classmethod
    def of(cls, queue: Queue, counts: dict[str, int]) -> Self:
        return cls(**{name: getattr(queue, name) for name in cls.model_fields if name != "counts"}, counts=counts)


class QueueList(BaseModel):
    items: list[QueueOut]


class ProgressOut(BaseModel):
    """How a queue is doing. Agreement is None without two annotators of a row."""

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

    @classmethod
    def of(cls, progress: Progress) -> Self:
        return cls(**asdict(progress))


class RowIn(BaseModel):
    """A row to judge. `content` has what its form needs, such as `other` for pairs."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=20_000)
    content: dict[str, Any] = Field(default_factory=dict)
    meta: dict[str, Any] = Field(default_factory=dict)
    user: str = Field(default="", max_length=200, description="Whose words they are, so that they can be erased.")

    def example(self) -> Example:
        return Example(self.text.strip(), meta=self.meta, content=self.content, user=self.user)


class NewTasks(BaseModel):
    """Rows of one's own, or the training rows of a dataset to be judged again."""

    model_config = ConfigDict(extra="forbid")

    rows: list[RowIn] = Field(default_factory=list, max_length=10_000)
    dataset: str | None = None
    version: int | None = Field(default=None, ge=1)
    label: str | None = None
    limit: int = Field(default=10_000, ge=1, le=100_000)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.rows) == bool(self.dataset):
            raise ValueError("give either `rows` or `dataset`")
        return self


class Added(BaseModel):
    added: int


class Guessed(BaseModel):
    guessed: int


class AnswerIn(BaseModel):
    """`{label}`, `{labels}`, `{spans}`, `{score}`, `{choice}`, `{good}` or `{text}`, as the queue's form wants it."""

    model_config = ConfigDict(extra="forbid")

    answer: dict[str, Any]
    seconds: float = Field(default=0.0, ge=0, le=86_400, description="How long it took.")


class GivenOut(BaseModel):
    user_id: str
    answer: dict[str, Any]
    seconds: float
    created_at: float

    @classmethod
    def of(cls, given: Given) -> Self:
        return cls(**{name: getattr(given, name) for name in cls.model_fields})


class TaskOut(BaseModel):
    """A row to judge. `prediction` is the model's guess: `{answer, score, model}`."""

    id: str
    text: str
    content: dict[str, Any]
    meta: dict[str, Any]
    status: str
    uncertainty: float
    prediction: dict[str, Any] | None
    final: dict[str, Any] | None
    answers: list[GivenOut] = Field(default_factory=list)

    @classmethod
    def of(cls, task: Task, answers: list[Given] | None = None) -> Self:
        return cls(
            id=task.id,
            text=task.example.text,
            content=task.example.content,
            meta=task.example.meta,
            status=task.status,
            uncertainty=task.uncertainty,
            prediction=task.prediction,
            final=task.final,
            answers=[GivenOut.of(one) for one in answers or []],
        )


class NextTask(BaseModel):
    """The row to judge now, None when all are done, and how many are still open."""

    task: TaskOut | None
    open: int


class TaskList(BaseModel):
    items: list[TaskOut]


class Take(BaseModel):
    note: str = Field(default="", max_length=2000)


class TakenOut(BaseModel):
    """What became of the settled rows. `version` is None where the dataset had them all already."""

    version: VersionOut | None
    taken: int
    nothing_to_learn: int
    held_out: int

    @classmethod
    def of(cls, taken: Taken) -> Self:
        version = VersionOut.of(taken.version) if taken.version else None
        return cls(version=version, taken=taken.taken, nothing_to_learn=taken.nothing_to_learn, held_out=taken.held_out)
