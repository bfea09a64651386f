"""A request of OpenAI's shape, checked and in our own words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from inhouse.core.errors import Invalid

DEFAULT_TOKENS = 1024
"""How long an answer gets where the request does not say, if the context has room for it."""
MOST_CHOICES, MOST_STOPS, MOST_BIASES, MOST_TOOLS = 128, 16, 1024, 128
Number = TypeVar("Number", int, float)


class BadParameter(Invalid):
    """A member of the request means nothing to this model; `param` in the details names it."""

    def __init__(self, param: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, param=param)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0

    @property
    def is_plain(self) -> bool:
        """Whether the highest score simply wins."""
        return self.is_greedy and not (self.presence_penalty or self.frequency_penalty or self.logit_bias)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a language model."""

    messages: Sequence[Mapping[str, Any]] | None = None
    prompt: str | Sequence[int] = ""
    echo: bool = False
    choices: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    """Write on to `max_tokens`, whatever the model wants; for measuring."""
    sampling: Sampling = Sampling()
    top_logprobs: int | None = None
    """How many other tokens to report with each; None for no report at all."""
    schema: Any = None
    """A JSON schema that the answer must fit; True for any object."""
    tools: Sequence[Mapping[str, Any]] = ()
    """The functions that may be called: name, description, parameters."""
    forced: tuple[str, ...] = ()
    """The answer must be a call of one of these."""
    template_values: Mapping[str, Any] = field(default_factory=dict)


def parse(body: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Request:
    """Check a request body. `defaults` are the sampling settings that the model's makers recommend."""
    messages = body.get("messages")
    if messages is not None and not (isinstance(messages, list) and messages):
        raise BadParameter("messages", "`messages` must be a list with at least one message.")
    tools = _tools(body)
    return Request(
        messages=messages,
        prompt=_prompt(body) if messages is None else "",
        echo=bool(body.get("echo")) and messages is None,
        choices=_number(body, "n", int, 1, MOST_CHOICES, 1),
        max_tokens=_max_tokens(body),
        stop=_stops(body),
        ignore_eos=body.get("ignore_eos") is True,
        sampling=_sampling(body, defaults or {}),
        top_logprobs=_logprobs(body, is_chat=messages is not None),
        schema=_schema(body),
        tools=tools,
        forced=_forced(body, tools),
        template_values=_template_values(body),
    )


def _prompt(body: Mapping[str, Any]) -> str | Sequence[int]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    is_ids = isinstance(prompt, list) and all(isinstance(id, int) and not isinstance(id, bool) for id in prompt)
    if not (isinstance(prompt, str) or is_ids) or not prompt:
        raise BadParameter("prompt", "`prompt` must be a text or a list of token ids.")
    return prompt


def _sampling(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sampling:
    asked = {**defaults, **{name: value for name, value in body.items() if value is not None}}
    return Sampling(
        temperature=_number(asked, "temperature", float, 0, 2, 1.0),
        top_p=_number(asked, "top_p", float, 0, 1, 1.0),
        top_k=max(0, _number(asked, "top_k", int, -1, 1 << 30, 0)),
        min_p=_number(asked, "min_p", float, 0, 1, 0.0),
        seed=None if asked.get("seed") is None else _number(asked, "seed", int, -(1 << 63), (1 << 63) - 1, 0),
        presence_penalty=_number(asked, "presence_penalty", float, -2, 2, 0.0),
        frequency_penalty=_number(asked, "frequency_penalty", float, -2, 2, 0.0),
        logit_bias=_biases(body),
    )


def _biases(body: Mapping[str, Any]) -> dict[int, float]:
    given = body.get("logit_bias") or {}
    if not isinstance(given, dict) or len(given) > MOST_BIASES:
        raise BadParameter("logit_bias", f"`logit_bias` must be an object with at most {MOST_BIASES} tokens.")
    try:
        biases = {int(id): float(value) for id, value in given.items()}
    except (TypeError, ValueError):
        raise BadParameter("logit_bias", "`logit_bias` maps token ids to numbers.") from None
    if not all(id >= 0 and -100 <= value <= 100 for id, value in biases.items()):
        raise BadParameter("logit_bias", "Values of `logit_bias` lie between -100 and 100.")
    return biases


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return None if body.get(name) is None else _number(body, name, int, 1, 1 << 62, 1)


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else (stop or [])
    fits = isinstance(stops, list) and len(stops) <= MOST_STOPS
    if not fits or not all(isinstance(one, str) and len(one) <= 1000 for one in stops):
        raise BadParameter("stop", f"`stop` must be a text or a list of at most {MOST_STOPS} texts.")
    return tuple(one for one in stops if one)


def _logprobs(body: Mapping[str, Any], *, is_chat: bool) -> int | None:
    asked = body.get("logprobs")
    if asked is None or asked is False:
        return None
    if not is_chat and not isinstance(asked, bool):
        return _number(body, "logprobs", int, 0, 20, 0)
    return _number(body, "top_logprobs", int, 0, 20, 0)


def _schema(body: Mapping[str, Any]) -> Any:
    wanted = body.get("response_format") or {}
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        return True
    if kind == "json_schema":
        described = wanted.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(schema, dict):
            raise BadParameter("response_format", "`response_format.json_schema.schema` must be a JSON schema.")
        return schema
    if wanted and kind != "text":
        raise BadParameter("response_format", "`response_format.type` is text, json_object or json_schema.")
    return None


def _tools(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    tools = body.get("tools") or []
    if not isinstance(tools, list) or len(tools) > MOST_TOOLS:
        raise BadParameter("tools", f"`tools` must be a list of at most {MOST_TOOLS} functions.")
    if body.get("tool_choice") == "none":
        return ()
    functions = [tool.get("function") if isinstance(tool, dict) else None for tool in tools]
    for function in functions:
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadParameter("tools", 'Each of `tools` looks like {"type": "function", "function": {"name": …}}.')
        if not isinstance(function.get("parameters") or {}, dict):
            raise BadParameter("tools", f"The parameters of {function['name']!r} must be a JSON schema.")
    return tuple(function for function in functions if function)


def _forced(body: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    choice = body.get("tool_choice")
    names = tuple(str(tool["name"]) for tool in tools)
    if choice in (None, "none", "auto"):
        return ()
    if choice == "required" and names:
        return names
    wanted = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
    if wanted not in names:
        raise BadParameter("tool_choice", f"`tool_choice` names no function of `tools`: {wanted or choice!r}.")
    return (wanted,)


def _template_values(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("chat_template_kwargs") or {}
    fits = isinstance(given, dict) and len(given) <= 32 and all(name.isidentifier() for name in given)
    if not fits or not all(isinstance(value, str | int | float | bool | None) for value in given.values()):
        raise BadParameter("chat_template_kwargs", "`chat_template_kwargs` maps names to texts, numbers or booleans.")
    return given


def _number(
    body: Mapping[str, Any], name: str, kind: type[Number], least: float, most: float, default: Number
) -> Number:
    value = body.get(name)
    if value is None:
        return default
    fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if not fits or not least <= value <= most:
        raise BadParameter(name, f"`{name}` must be a number between {least:g} and {most:g}, not {value!r:.50}.")
    return kind(value)
