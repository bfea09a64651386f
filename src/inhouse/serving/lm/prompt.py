"""From messages to the tokens that a model reads."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inhouse.models.language.template import load_template
from inhouse.models.language.vocabulary import Vocabulary, disarmed
from inhouse.serving.lm.piece import ContextLengthExceeded
from inhouse.serving.lm.request import DEFAULT_TOKENS, BadParameter, Request
from inhouse.serving.lm.sections import CALL

ROLES = {"developer": "system"}
MOST_PROMPT_CHARACTERS_PER_TOKEN = 64
"""A text that has more than this for each token of the context does not fit, and is not even tokenized."""


class Prompter:
    """Knows how one model wants to be talked to."""

    def __init__(self, directory: Path, vocabulary: Vocabulary, *, context_length: int) -> None:
        self._vocabulary = vocabulary
        self._context_length = context_length
        self._template = load_template(directory)
        self._marks_calls = vocabulary.id(CALL) is not None

    def render(self, request: Request) -> str:
        """The text that the model continues."""
        if request.messages is None:
            return request.prompt if isinstance(request.prompt, str) else ""
        messages = [_message(message, self._vocabulary, number) for number, message in enumerate(request.messages)]
        tools = [{"type": "function", "function": tool} for tool in disarmed(list(request.tools), self._vocabulary)]
        values = disarmed(request.template_values, self._vocabulary)
        text = self._template.render(messages, **{**values, "tools": tools or None, "add_generation_prompt": True})
        return text + f"{CALL}\n" if request.forced and self._marks_calls else text

    def encode(self, request: Request, text: str) -> list[int]:
        """The tokens to read; refused when they leave no room for an answer."""
        if not isinstance(request.prompt, str):
            ids = _known(request.prompt, self._vocabulary.size)
        elif len(text) > self._context_length * MOST_PROMPT_CHARACTERS_PER_TOKEN:
            ids = range(len(text) // MOST_PROMPT_CHARACTERS_PER_TOKEN)
        else:
            ids = self._vocabulary.encode(text, start=request.messages is None)
        param = "prompt" if request.messages is None else "messages"
        needed = len(ids) + (request.max_tokens or 1)
        if needed > self._context_length:
            raise ContextLengthExceeded(needed, self._context_length, param=param)
        if not ids:
            raise BadParameter(param, "There is nothing to read: the prompt has no tokens.")
        return list(ids)

    def room(self, request: Request, prompt_tokens: int) -> int:
        """How many tokens the answer may have."""
        return request.max_tokens or min(DEFAULT_TOKENS, self._context_length - prompt_tokens)


def _message(message: Any, vocabulary: Vocabulary, number: int) -> dict[str, Any]:
    """A message as templates know it, with control tokens in it disarmed."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadParameter("messages", f"Message {number} is no object with a role.")
    known = {key: value for key, value in message.items() if value is not None}
    shown = {**known, "role": ROLES.get(message["role"], message["role"]), "content": _text(message, number)}
    if calls := known.get("tool_calls"):
        shown["tool_calls"] = [_call(call, number) for call in calls]
    return disarmed(shown, vocabulary)


def _text(message: Mapping[str, Any], number: int) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise BadParameter("messages", f"The content of message {number} is neither a text nor a list of parts.")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            raise BadParameter("messages", f"This model reads text only: message {number} has a part of type {kind!r}.")
        texts.append(part["text"])
    return "".join(texts)


def _call(call: Any, number: int) -> dict[str, Any]:
    """A former tool call, its arguments as an object: templates write them as JSON again."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise BadParameter("messages", f"A tool call of message {number} has no function.")
    arguments = function.get("arguments")
    with contextlib.suppress(ValueError, RecursionError):  # what is no JSON reaches the template as it was
        arguments = json.loads(arguments or "{}") if isinstance(arguments, str | None) else arguments
    return {**call, "function": {**function, "arguments": arguments}}


def _known(ids: Sequence[int], size: int) -> Sequence[int]:
    if any(not 0 <= id < size for id in ids):
        raise BadParameter("prompt", f"Token ids of this model lie between 0 and {size - 1}.")
    return ids
