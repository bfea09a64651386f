"""Wire shapes of apps, conversations and feedback."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from inhouse.apps.chat import Answered, Begun, ChatEvent, Failed, Founded, Question
from inhouse.apps.publish import Face
from inhouse.apps.store import App, Opinion, storable
from inhouse.workflow.events import NodeFinished, NodeRetried, NodeStarted, TextChunk


class Texts(BaseModel):
    """A text in the languages of the console; a plain string stands for all of them."""

    en: str = Field(max_length=2_000)
    zh: str = Field(max_length=2_000)

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: object) -> object:
        return {"en": given, "zh": given} if isinstance(given, str) else given


class AppFace(BaseModel):
    """What an app runs, and what people see of it."""

    workflow: str = Field(min_length=1, max_length=64)
    title: Texts
    opener: Texts = Texts(en="", zh="")
    suggested: list[Texts] = Field(default=[], max_length=20, description="Questions to begin with.")

    def face(self) -> Face:
        return Face(
            title=self.title.model_dump(),
            opener=self.opener.model_dump(),
            suggested=[question.model_dump() for question in self.suggested],
        )


class NewApp(AppFace):
    name: str


class AppOut(AppFace):
    name: str
    created_at: float
    updated_at: float

    @classmethod
    def of(cls, app: App) -> Self:
        return cls.model_validate(app, from_attributes=True)


class AppList(BaseModel):
    items: list[AppOut]


class QuestionIn(BaseModel):
    """A question to an app. Without a conversation_id a new conversation begins."""

    query: str
    conversation_id: str | None = Field(default=None, max_length=64)
    inputs: dict[str, JsonValue] = Field(default={}, max_length=50, description="Values for the workflow's inputs.")
    stream: bool = Field(default=False, description="Answer as server-sent events.")

    def question(self) -> Question:
        return Question(self.query, self.conversation_id, self.inputs)


class SourceOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    n: int = Field(description="The number that the answer cites it by.")
    document: str
    title: str
    page: int | None
    chunk_id: str
    heading: list[str]
    text: str
    cited: bool


class IntentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    label: str
    score: float
    known: bool
    model: str
    version: int


class FeedbackIn(BaseModel):
    """A thumb, up or down, or null to take it back; why; and what would have been right."""

    rating: Literal["up", "down"] | None
    reason: str | None = Field(default=None, max_length=2_000)
    answer: str | None = Field(default=None, max_length=20_000, description="The answer it should have been.")
    label: str | None = Field(default=None, max_length=200, description="The label it should have been.")

    def opinion(self) -> Opinion | None:
        remarks = (storable(text or "").strip() or None for text in (self.reason, self.answer, self.label))
        return Opinion(self.rating, *remarks) if self.rating else None


class FeedbackOut(BaseModel):
    rating: str
    reason: str | None
    answer: str | None
    label: str | None

    @model_validator(mode="before")
    @classmethod
    def _of_opinion(cls, given: object) -> object:
        if not isinstance(given, Opinion):
            return given
        return {
            "rating": given.rating,
            "reason": given.reason,
            "answer": given.corrected_answer,
            "label": given.corrected_label,
        }


class FeedbackGiven(BaseModel):
    """The opinion as it stands; null after it was taken back."""

    feedback: FeedbackOut | None


class MessageOut(BaseModel):
    """A question and its answer. `status` is succeeded, partial-succeeded, failed or stopped."""

    model_config = ConfigDict(from_attributes=True, protected_namespaces=())

    id: str
    conversation_id: str
    app: str
    query: str
    answer: str
    status: str
    error: dict[str, Any] | None
    sources: list[SourceOut]
    intent: IntentOut | None
    trace_id: str
    workflow: str
    workflow_version: int
    model_versions: dict[str, int | str]
    fixed_in: dict[str, Any] | None
    feedback: FeedbackOut | None
    created_at: float
    duration_ms: float


class MessageList(BaseModel):
    """Messages in reading order, the newest last."""

    items: list[MessageOut]


class ChatOut(BaseModel):
    """The short form of an answer."""

    model_config = ConfigDict(protected_namespaces=())

    answer: str
    sources: list[SourceOut]
    message_id: str
    conversation_id: str
    trace_id: str
    model_versions: dict[str, int | str]


class ConversationOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    app: str
    title: str
    created_at: float
    updated_at: float


class ConversationList(BaseModel):
    items: list[ConversationOut]


def frame(event: ChatEvent) -> dict[str, Any]:
    """An event as it is streamed: start, node, delta, sources, then done or error."""
    match event:
        case Begun():
            ids = {
                "message_id": event.message_id,
                "conversation_id": event.conversation_id,
                "trace_id": event.trace_id,
            }
            return {"event": "start", "data": ids}
        case NodeStarted() | NodeFinished() | NodeRetried():
            return {"event": "node", "data": _progress(event)}
        case TextChunk():
            return {"event": "delta", "data": {"text": event.text}}
        case Founded():
            sources = [SourceOut.model_validate(source).model_dump() for source in event.sources]
            return {"event": "sources", "data": {"sources": sources}}
        case Answered():
            return {"event": "done", "data": {"message": MessageOut.model_validate(event.message).model_dump()}}
        case Failed():
            return {"event": "error", "data": {"error": event.message.error, "message_id": event.message.id}}


def _progress(event: NodeStarted | NodeRetried | NodeFinished) -> dict[str, Any]:
    """How far a step is. What it got and gave is in the trace, for those who may read that."""
    if isinstance(event, NodeRetried):
        return {"id": event.node_id, "status": "retrying", "attempt": event.attempt}
    about = {"id": event.node_id, "type": event.node_type, "title": event.title}
    if isinstance(event, NodeStarted):
        return {**about, "status": "running"}
    return {**about, "status": event.status, "elapsed_ms": round(event.elapsed_s * 1000, 1)}
