"""Ask a language model."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from html import escape
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from inhouse.core.errors import Unavailable
from inhouse.workflow.context import ChatRequest, Context
from inhouse.workflow.jinja import compile_jinja, render_jinja
from inhouse.workflow.node import Node, Outputs, node
from inhouse.workflow.templates import prompt, template
from inhouse.workflow.variables import MISSING, Selector, as_text

_CONTEXT = ("context",)
_SOURCE_TAG = re.compile(r"<(?=/?source\b)", re.IGNORECASE)


class NoAnswer(Unavailable):
    """The model ended its answer without a word."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True)


class Model(_Settings):
    """Which model, and how it shall sample."""

    name: str = Field(min_length=1)
    completion_params: dict[str, Any] = Field(default_factory=dict)


class Prompt(_Settings):
    """One message of the prompt."""

    role: Literal["system", "user", "assistant"] = "user"
    text: str = ""
    edition_type: Literal["basic", "jinja2"] = "basic"
    jinja2_text: str = ""

    @field_validator("jinja2_text")
    @classmethod
    def _readable(cls, source: str) -> str:
        compile_jinja(source)
        return source


class JinjaVariable(_Settings):
    """A name that Jinja2 prompts know."""

    variable: str
    value_selector: Selector


class PromptConfig(_Settings):
    """What Jinja2 prompts may use."""

    jinja2_variables: tuple[JinjaVariable, ...] = ()


class Passages(_Settings):
    """Which value `{{#context#}}` stands for."""

    enabled: bool = False
    variable_selector: tuple[str, ...] = ()


class Window(_Settings):
    """How many turns of the conversation the model sees."""

    enabled: bool = False
    size: int = Field(default=10, ge=1)


class Memory(_Settings):
    """The conversation so far, and the question as the last message."""

    window: Window = Window()
    query_prompt_template: str = "{{#sys.query#}}"


class Answered(Outputs):
    """The model's answer."""

    text: str
    usage: dict[str, int]
    finish_reason: str
    model: str


@node("llm")
class Llm(Node):
    """Ask a language model; its words stream on to the reader."""

    model: Model
    prompt_template: tuple[Prompt, ...] = Field(min_length=1)
    prompt_config: PromptConfig = PromptConfig()
    context: Passages = Passages()
    memory: Memory | None = None

    @field_validator("prompt_template", mode="before")
    @classmethod
    def _one_prompt(cls, prompts: object) -> object:
        """Completion models have one text in place of messages."""
        return [{"role": "user", **prompts}] if isinstance(prompts, Mapping) else prompts

    def reads(self) -> Iterable[tuple[str, ...]]:
        if self.context.enabled and self.context.variable_selector:
            yield self.context.variable_selector
        for message in self.prompt_template:
            if message.edition_type == "basic":
                yield from (selector for selector in prompt(message.text).selectors if selector != _CONTEXT)
        yield from (variable.value_selector for variable in self.prompt_config.jinja2_variables)
        if self.memory:
            yield from template(self.memory.query_prompt_template).selectors
        for value in self.model.completion_params.values():
            if isinstance(value, str):
                yield from template(value).selectors

    async def run(self, context: Context) -> Answered:
        texts: list[str] = []
        finish_reason, usage, model = "stop", dict[str, int](), self.model.name
        async with aclosing(context.services.chat.stream(context.principal, self._request(context))) as deltas:
            async for delta in deltas:
                if delta.text:
                    texts.append(delta.text)
                    context.say("text", delta.text)
                finish_reason = delta.finish_reason or finish_reason
                usage = dict(delta.usage) if delta.usage else usage
                model = delta.model or model
        if not texts:
            raise NoAnswer(f"The model {model!r} answered nothing.", hint="Ask again, or try another model.")
        context.note_model(self.model.name, model)
        return Answered(text="".join(texts), usage=usage, finish_reason=finish_reason, model=model)

    def _request(self, context: Context) -> ChatRequest:
        params = {name: _parameter(value, context) for name, value in self.model.completion_params.items()}
        return ChatRequest(
            model=self.model.name,
            messages=self._messages(context),
            temperature=params.pop("temperature", None),
            max_tokens=params.pop("max_tokens", None),
            stop=params.pop("stop", None),
            user=context.inputs.user_id,
            extra=params,
        )

    def _messages(self, context: Context) -> list[dict[str, object]]:
        messages: list[dict[str, object]] = [
            {"role": message.role, "content": self._fill(message, context)} for message in self.prompt_template
        ]
        if self.memory is None:
            return messages
        system = [message for message in messages if message["role"] == "system"]
        rest = [message for message in messages if message["role"] != "system"]
        history: list[dict[str, object]] = [{**message} for message in self._remembered(context.inputs.history)]
        question = context.render(template(self.memory.query_prompt_template))
        return [*system, *history, *rest, {"role": "user", "content": question}]

    def _remembered(self, history: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
        window = self.memory.window if self.memory else Window()
        return history[-2 * window.size :] if window.enabled else history

    def _fill(self, message: Prompt, context: Context) -> str:
        if message.edition_type == "jinja2":
            return render_jinja(message.jinja2_text, self._jinja_values(context))
        passages = self._passages(context)
        return prompt(message.text).render(
            lambda selector: passages if selector == _CONTEXT else context.variables.find(selector)
        )

    def _jinja_values(self, context: Context) -> dict[str, object]:
        declared = self.prompt_config.jinja2_variables
        found = {variable.variable: context.variables.find(variable.value_selector) for variable in declared}
        return {"context": self._passages(context)} | {name: v for name, v in found.items() if v is not MISSING}

    def _passages(self, context: Context) -> str:
        if not (self.context.enabled and self.context.variable_selector):
            return ""
        value = context.variables.find(self.context.variable_selector)
        if value is MISSING:
            return ""
        items = value if isinstance(value, (list, tuple)) else [value]
        return "\n".join(_source(item, number) for number, item in enumerate(items, start=1))


def _parameter(value: Any, context: Context) -> Any:
    """A sampling parameter; one with places is filled in and read as JSON where it is some."""
    if not isinstance(value, str) or not template(value).selectors:
        return value
    text = context.render(template(value))
    try:
        return json.loads(text)
    except ValueError:
        return text


def _source(item: object, number: int) -> str:
    """A found passage as a numbered source that its own text cannot close; any other value as text."""
    if not (isinstance(item, Mapping) and "content" in item):
        return as_text(item)
    metadata = item.get("metadata") or {}
    page = metadata.get("page")
    place = f' page="{page}"' if page is not None else ""
    text = _SOURCE_TAG.sub("&lt;", as_text(item["content"]))
    return f'<source id="{number}" title="{escape(as_text(item.get("title")))}"{place}>{text}</source>'
