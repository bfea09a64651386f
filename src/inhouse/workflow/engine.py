"""Runs compiled graphs: every step as soon as it can, side by side, in one event loop."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from functools import partial

from inhouse.core.errors import InhouseError, LimitExceeded, TimedOut
from inhouse.core.ids import now
from inhouse.core.principal import Principal
from inhouse.core.trace import Span, Trace
from inhouse.workflow.context import Context, RunInputs, Services
from inhouse.workflow.events import Event, NodeFinished, NodeRetried, NodeStarted, RunFinished, TextChunk
from inhouse.workflow.graph import FAIL_BRANCH, SYSTEM, Compiled, Step
from inhouse.workflow.node import SOURCE, Outputs
from inhouse.workflow.responses import Responses
from inhouse.workflow.variables import MISSING, Variables

MAX_TEXT = 1_000_000
"""Characters in one text that a step puts out."""
_BREATH_S = 0.005
_log = logging.getLogger(__name__)


class StepTimedOut(TimedOut):
    """A step took longer than its graph allows."""


class RunTimedOut(TimedOut):
    """A run took longer than any run may."""


class OutputTooLarge(LimitExceeded):
    """A step put out more than a run carries along."""

    retryable = False


class StepBroke(InhouseError):
    """A step failed in a way that nobody foresaw."""

    retryable = True


class Engine:
    """Runs graphs with the services at hand. One engine serves any number of runs at a time."""

    def __init__(self, services: Services, *, run_timeout_s: float = 1200) -> None:
        self._services = services
        self._run_timeout_s = run_timeout_s

    async def run(
        self, graph: Compiled, inputs: RunInputs, principal: Principal, trace: Trace | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield events until `RunFinished`. When the caller stops listening, all steps are cancelled.

        Iterate inside `contextlib.aclosing`, so that leaving the loop early takes effect at once.
        """
        trace = trace or Trace(principal.workspace_id, principal.user_id)
        trace.input = {"query": inputs.query, "inputs": dict(inputs.inputs)}
        run = _Run(graph, inputs, principal, self._services, trace)
        driver = asyncio.create_task(run.drive(self._run_timeout_s))
        try:
            while True:
                event = await run.events.get()
                if isinstance(event, RunFinished):
                    await driver
                    yield event
                    return
                yield event
        finally:
            driver.cancel()
            await asyncio.wait([driver])
            run.stop()


class _Run:
    """One walk through a graph. Edges are unknown until their source is done, then taken or skipped."""

    def __init__(
        self, graph: Compiled, inputs: RunInputs, principal: Principal, services: Services, trace: Trace
    ) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self._graph = graph
        self._inputs = inputs
        self._principal = principal
        self._services = services
        self._trace = trace
        self._variables = Variables()
        self._variables.put(SYSTEM, _system_values(inputs, trace))
        self._responses = Responses(graph, self._variables, lambda text, id: self._tell(TextChunk(text, id)))
        self._unknown = [step.incoming for step in graph.steps]
        self._is_live = bytearray(len(graph.steps))
        self._outputs: dict[str, object] = {}
        self._exceptions = 0
        self._tell = self.events.put_nowait

    async def drive(self, timeout_s: float) -> None:
        """Run everything that can be reached, then tell how it ended."""
        error: InhouseError | None = None
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                group.create_task(self._walk(self._graph.steps[self._graph.start], group))
        except TimeoutError:
            error = RunTimedOut(f"The run took longer than {timeout_s:g} s and was stopped.", hint="Try again.")
        except BaseExceptionGroup as failures:
            error = _deliberate(failures.exceptions[0], self._trace.id)
        self._finish(error)

    def stop(self) -> None:
        """Mark what did not come to its end, because the caller left."""
        for span in self._trace.spans:
            if span.ended_at is None:
                span.end("stopped")
        if self._trace.ended_at is None:
            self._trace.end("stopped", output={"answer": "".join(self._responses.said)})

    async def _walk(self, step: Step, group: asyncio.TaskGroup) -> None:
        """Run a step and what follows it. Side branches get tasks of their own."""
        clock = asyncio.get_running_loop().time
        breath = clock() + _BREATH_S
        while True:
            handle = await self._perform(step)
            ready = self._settle(step, handle)
            if not ready:
                return
            step, *others = ready
            for other in others:
                group.create_task(self._walk(other, group))
            if clock() > breath:  # a long chain of quick steps must not hold up everyone else
                await asyncio.sleep(0)
                breath = clock() + _BREATH_S

    async def _perform(self, step: Step) -> str:
        """Do a step's work, with the care that its graph asks for, and return the exit to go on by."""
        self._tell(NodeStarted(step.id, step.node.type, step.title))
        span = Span(step.title, step.node.type, attributes={"node_id": step.id})
        span.input = {".".join(selector): self._peek(selector) for selector in step.reads}
        self._trace.spans.append(span)
        attempt = 0
        while True:
            try:
                outputs = await self._attempt(step)
            except Exception as error:
                failure = _deliberate(error, self._trace.id)
                is_unseen = self._responses.forget(step.id)
                if attempt == step.care.retries or not failure.retryable or not is_unseen:
                    return self._failed(step, span, failure)
                attempt += 1
                span.attributes["retries"] = attempt
                self._tell(NodeRetried(step.id, attempt, failure))
                await asyncio.sleep(step.care.retry_config.retry_interval / 1000)
            else:
                return self._succeeded(step, span, outputs)

    async def _attempt(self, step: Step) -> Outputs:
        context = Context(
            principal=self._principal,
            inputs=self._inputs,
            services=self._services,
            variables=self._variables,
            say=partial(self._responses.hear, step.id),
            note_model=self._trace.model_versions.__setitem__,
        )
        if step.care.timeout_s is None:
            return await step.node.run(context)
        limit = asyncio.timeout(step.care.timeout_s)
        try:
            async with limit:
                return await step.node.run(context)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepTimedOut(
                f"The step {step.title!r} took longer than {step.care.timeout_s:g} s.",
                hint="Raise its time limit, or let it retry.",
            ) from error

    def _succeeded(self, step: Step, span: Span, outputs: Outputs) -> str:
        values = dict(outputs)
        oversized = next((name for name, v in values.items() if isinstance(v, str) and len(v) > MAX_TEXT), None)
        if oversized is not None:
            failure = OutputTooLarge(
                f"The step {step.title!r} put out {len(str(values[oversized]))} characters as {oversized!r}.",
                hint=f"{MAX_TEXT} is the most.",
            )
            return self._failed(step, span, failure)
        if step.node.type == "end":
            self._outputs.update(values)
        self._conclude(step, span, "succeeded", values)
        return outputs.handle()

    def _failed(self, step: Step, span: Span, error: InhouseError) -> str:
        """Go on as the step's error strategy says, or end the run."""
        strategy = step.care.error_strategy
        if strategy is None:
            self._conclude(step, span, "failed", {}, error)
            raise error
        self._exceptions += 1
        values: dict[str, object] = {"error_message": error.message, "error_type": error.code}
        if strategy == FAIL_BRANCH:
            self._conclude(step, span, "exception", values, error)
            return FAIL_BRANCH
        defaults = {default.key: default.parsed() for default in step.care.default_value}
        self._conclude(step, span, "exception", defaults | values, error)
        return SOURCE

    def _conclude(
        self, step: Step, span: Span, status: str, values: Mapping[str, object], error: InhouseError | None = None
    ) -> None:
        span.end(status, output=values, error=error.message if error else None)
        self._variables.put(step.id, values)
        elapsed_s = (span.ended_at or span.started_at) - span.started_at
        self._tell(NodeFinished(step.id, step.node.type, step.title, status, values, elapsed_s, error))
        if status != "failed":  # the run is over: no answer waits for the value any more
            self._responses.settle(step.id)

    def _settle(self, step: Step, handle: str) -> list[Step]:
        """Decide the edges behind a finished step, and those behind steps that are skipped so. Return what is ready."""
        ready: list[Step] = []
        decided = [(edge, edge.handle == handle) for edge in step.edges]
        for edge, is_taken in decided:  # the list grows while it is walked
            target = self._graph.steps[edge.target]
            self._unknown[target.index] -= 1
            if is_taken:
                self._is_live[target.index] = True
                if step.blocks:
                    self._responses.reach(target.index)
            if self._unknown[target.index]:
                continue
            if self._is_live[target.index]:
                ready.append(target)
            else:
                decided.extend((skipped, False) for skipped in target.edges)
                self._responses.settle(target.id)
        return ready

    def _peek(self, selector: tuple[str, ...]) -> object:
        value = self._variables.find(selector)
        return None if value is MISSING else value

    def _finish(self, error: InhouseError | None) -> None:
        text = "".join(self._responses.said)
        has_answer = any(step.node.type == "answer" for step in self._graph.steps)
        outputs = {"answer": text, **self._outputs} if has_answer else self._outputs
        status = "failed" if error else "partial-succeeded" if self._exceptions else "succeeded"
        for span in self._trace.spans:
            if span.ended_at is None:  # cancelled when another step failed
                span.end("stopped")
        self._trace.end(status, output=outputs, error=error.message if error else None)
        self._tell(RunFinished(status, outputs, self._trace, error, self._exceptions))


def _deliberate(error: BaseException, trace_id: str) -> InhouseError:
    """Our own errors as they are; anything else is logged and told without its insides."""
    if isinstance(error, InhouseError):
        return error
    if isinstance(error, TimeoutError):
        return StepTimedOut("A step waited too long for something.", hint="Try again.")
    _log.error("A step broke in trace %s.", trace_id, exc_info=error)
    return StepBroke("A step broke unexpectedly.", hint=f"Look into the log for trace {trace_id}.")


def _system_values(inputs: RunInputs, trace: Trace) -> Mapping[str, object]:
    return {
        "query": inputs.query,
        "files": list(inputs.files),
        "conversation_id": inputs.conversation_id,
        "user_id": inputs.user_id,
        "dialogue_count": sum(message.get("role") == "user" for message in inputs.history) + 1,
        "app_id": inputs.app_id,
        "workflow_id": trace.workflow,
        "workflow_run_id": trace.id,
        "timestamp": int(now()),
    }
