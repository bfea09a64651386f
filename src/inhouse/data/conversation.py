"""Conversations in the shapes that people write them down."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant"}
ROLES |= {"gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "model": "assistant"}
ROLES |= {"function_call": "assistant", "tool": "tool", "observation": "tool", "function": "tool"}
_MAX_MESSAGES = 1000
_TURN = re.compile(r"\n\n(Human|Assistant):")

Message = dict[str, str]


def messages_of(value: Any) -> list[Message]:
    """Messages with `role` and `content`. A text is the user's. Raises `ValueError` with what is wrong."""
    if value is None:
        return []
    if isinstance(value, str | int | float):
        text = str(value).strip()
        return _told(text) if _is_told(text) else [_message("user", text)] if text else []
    if not isinstance(value, list) or len(value) > _MAX_MESSAGES:
        raise ValueError("Is not a list of messages.")
    return [_read(number, item) for number, item in enumerate(value, 1)]


def answer_of(value: Any) -> str:
    """One answer: a text, a message, or a list that ends with one."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list):
        messages = messages_of(value)
        if not messages or messages[-1]["role"] != "assistant":
            raise ValueError("Does not end with an answer of the assistant.")
        return messages[-1]["content"]
    if isinstance(value, str) and _is_told(value):
        return answer_of(_told(value.strip()))
    return str(value).strip() if isinstance(value, str | int | float) else ""


def shared_beginning(first: Sequence[Message], second: Sequence[Message]) -> list[Message]:
    """The messages that two conversations have in common before they part."""
    count = next(
        (number for number, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )
    return list(first[:count])


def last_question(messages: Sequence[Message]) -> str:
    """What a person recognises a conversation by."""
    asked = [message["content"] for message in messages if message["role"] == "user"]
    return asked[-1] if asked else messages[0]["content"]


def _read(number: int, item: Any) -> Message:
    if not isinstance(item, Mapping):
        raise ValueError(f"Message {number} is not an object.")
    given = str(item.get("role", item.get("from", "")))
    role = ROLES.get(given.strip().lower())
    if role is None:
        raise ValueError(f"Message {number} has the role {given!r}; known: {', '.join(ROLES)}.")
    content = _words(number, item.get("content", item.get("value")))
    if not content:
        raise ValueError(f"Message {number} has no text.")
    return _message(role, content)


def _words(number: int, content: Any) -> str:
    """The text of a message; a list of parts must be of text only."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise ValueError(f"Message {number} holds something other than text.")
        return "\n".join(map(str, parts)).strip()
    if isinstance(content, Mapping):
        return json.dumps(content, ensure_ascii=False)
    return str(content).strip() if isinstance(content, str | int | float) else ""


def _is_told(text: str) -> bool:
    return text.lstrip().startswith("Human:") and "\n\nAssistant:" in text


def _told(text: str) -> list[Message]:
    """`Human: … Assistant: …`, as the first preference sets were written."""
    parts = _TURN.split(f"\n\n{text}")[1:]
    turns = zip(parts[::2], parts[1::2], strict=False)
    spoken = [_message("user" if who == "Human" else "assistant", said.strip()) for who, said in turns]
    return [message for message in spoken if message["content"]]


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
