"""Chatting with an app: a question runs its workflow, and the answer streams back and is kept."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from inhouse.apps.conversations import Conversations, Thread
from inhouse.apps.publish import Apps
from inhouse.apps.sources import Source, sources_of
from inhouse.apps.store import Intent, Message, storable
from inhouse.core.errors import InhouseError, Invalid
from inhouse.core.ids import new_id
from inhouse.core.principal import Principal
from inhouse.core.trace import Trace
from inhouse.workflow.context import ChatDelta, ChatModel, ChatRequest, RunInputs, Services
from inhouse.workflow.engine import Engine
from inhouse.workflow.events import NodeFinished, NodeRetried, NodeStarted, RunFinished, TextChunk
from inhouse.workflow.graph import Compiled
from inhouse.workflow.traces import Traces
from inhouse.workflow.workflows import Workflows

MAX_QUERY = 8_000
MAX_INPUTS = 200_000


class QuestionEmpty(Invalid):
    """Nothing is asked."""


class QuestionTooLong(Invalid):
    """The question, or what comes with it, is longer than any question needs to be."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a user asks. `context` is what was said or known before, in addition to the conversation itself.

    Without a conversation a new one begins. A temperature overrides the workflow's own.
    """

    query: str
    conversation_id: str | None = None
    inputs: Mapping[str, object] = field(default_factory=dict)
    context: str = ""
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that can be answered: everything that may be missing has been found."""

    message_id: str
    question: Question
    principal: Principal
    thread: Thread
    graph: Compiled
    trace: Trace


@dataclass(frozen=True, slots=True)
class Begun:
    """The answer is being made."""

    message_id: str
    conversation_id: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Founded:
    """The passages that the answer rests on, cited ones first."""

    sources: Sequence[Source]


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is complete."""

    message: Message


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no answer, or no whole one, and why."""

    message: Message
    error: InhouseError


ChatEvent = Begun | NodeStarted | NodeRetried | NodeFinished | TextChunk | Founded | Answered | Failed


class ChatApps:
    """Answers questions put to apps."""

    def __init__(
        self, apps: Apps, conversations: Conversations, workflows: Workflows, services: Services, traces: Traces
    ) -> None:
        self._apps = apps
        self._conversations = conversations
        self._workflows = workflows
        self._services = services
        self._traces = traces

    async def ask(self, principal: Principal, app_name: str, question: Question) -> Turn:
        """Check a question and find what answers it. All that can be wrong with a request is told here."""
        question = _checked(question)
        app = self._apps.get(principal, app_name)
        loaded = await self._workflows.load(principal, app.workflow)
        if question.conversation_id is None:
            thread = self._conversations.begin(principal, app.name, question.query)
        else:
            thread = await self._conversations.resume(principal, app.name, question.conversation_id)
        trace = Trace(
            principal.workspace_id,
            principal.user_id,
            workflow=app.workflow,
            workflow_version=loaded.number,
            app=app.name,
            conversation_id=thread.conversation.id,
        )
        return Turn(new_id("message"), question, principal, thread, loaded.graph, trace)

    async def answer(self, turn: Turn) -> AsyncGenerator[ChatEvent, None]:
        """Yield the answer as it is made. A reader who leaves stops the run; what was said by then is kept.

        Iterate inside `contextlib.aclosing`, so that leaving the loop early takes effect at once.
        """
        texts: list[str] = []
        error: InhouseError | None = None
        try:
            yield Begun(turn.message_id, turn.thread.conversation.id, turn.trace.id)
            engine = Engine(self._services_for(turn.question))
            async with aclosing(engine.run(turn.graph, _inputs(turn), turn.principal, turn.trace)) as events:
                async for event in events:
                    if isinstance(event, RunFinished):
                        error = event.error
                        continue
                    if isinstance(event, TextChunk):
                        texts.append(event.text)
                    yield event
        finally:
            message = self._keep(turn, "".join(texts), error)
        yield Founded(message.sources)
        yield Failed(message, error) if error else Answered(message)

    async def reply(self, principal: Principal, app_name: str, question: Question) -> Message:
        """Answer in one piece; raise what the run failed of."""
        turn = await self.ask(principal, app_name, question)
        async with aclosing(self.answer(turn)) as events:
            *_, last = [event async for event in events]
        if isinstance(last, Failed):
            last.error.details.update(trace_id=turn.trace.id, message_id=turn.message_id)
            raise last.error
        assert isinstance(last, Answered)
        return last.message

    def _services_for(self, question: Question) -> Services:
        if question.temperature is None:
            return self._services
        return replace(self._services, chat=_AtTemperature(self._services.chat, question.temperature))

    def _keep(self, turn: Turn, answer: str, error: InhouseError | None) -> Message:
        """Write down the turn and its trace, however it ended."""
        trace, conversation = turn.trace, turn.thread.conversation
        if trace.ended_at is None:  # the reader left before the run began
            trace.end("stopped")
        answer = storable(answer)
        message = Message(
            id=turn.message_id,
            conversation_id=conversation.id,
            workspace_id=conversation.workspace_id,
            owner_id=conversation.owner_id,
            app=conversation.app,
            query=turn.question.query,
            answer=answer,
            status=trace.status,
            error=error.wire(trace.id)["error"] if error else None,
            sources=sources_of(trace, answer),
            intent=_intent(trace),
            trace_id=trace.id,
            workflow=trace.workflow,
            workflow_version=trace.workflow_version,
            model_versions=dict(trace.model_versions),
            created_at=trace.started_at,
            duration_ms=trace.duration_ms,
        )
        self._conversations.record(turn.thread, message)
        self._traces.put(trace)
        return message


@dataclass(frozen=True, slots=True)
class _AtTemperature:
    """A language model that samples at one temperature, whatever it is asked for."""

    chat: ChatModel
    temperature: float

    def stream(self, principal: Principal, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        return self.chat.stream(principal, replace(request, temperature=self.temperature))


def _checked(question: Question) -> Question:
    query = storable(question.query).strip()
    if not query:
        raise QuestionEmpty("The question is empty.", hint="Ask something.")
    if len(query) > MAX_QUERY:
        raise QuestionTooLong(
            f"The question has {len(query):,} characters.",
            hint=f"{MAX_QUERY:,} is the most. Put long texts into a knowledge base and ask about them.",
        )
    inputs = storable(json.dumps(question.inputs, ensure_ascii=False))
    extra = len(question.context) + len(inputs)
    if extra > MAX_INPUTS:
        raise QuestionTooLong(
            f"The inputs and the context have {extra:,} characters.", hint=f"{MAX_INPUTS:,} is the most."
        )
    return replace(question, query=query, inputs=json.loads(inputs), context=storable(question.context))


def _inputs(turn: Turn) -> RunInputs:
    """What the workflow starts from. Models with memory read the context as an earlier message of the user."""
    question, conversation = turn.question, turn.thread.conversation
    context = [{"role": "user", "content": question.context}] if question.context else []
    return RunInputs(
        query=question.query,
        inputs={"context": question.context, **question.inputs},
        user_id=conversation.owner_id,
        conversation_id=conversation.id,
        app_id=conversation.app,
        history=turn.thread.history() + context,
    )


def _intent(trace: Trace) -> Intent | None:
    """What the first classifier of the run made of the question."""
    for span in trace.spans:
        if span.kind == "classify" and span.status == "succeeded":
            return Intent(**{name: span.output[name] for name in Intent.__dataclass_fields__})
    return None
