"""Rows of several forms as conversations, which is what language models learn from."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from inhouse.data.examples import Form
from inhouse.training.dataset import NotTrainable, Row

Message = Mapping[str, Any]


def conversation_of(row: Row, form: Form) -> list[Message]:
    """A chat as it is; a labelled text or a pair as a question and its answer."""
    if form is Form.CHAT:
        return messages_of(row)
    answer = row.content.get("other", "") if form is Form.PAIR else row.label
    return [user(row.text), assistant(answer)]


def messages_of(row: Row) -> list[Message]:
    """The conversation of a row, calls of tools as templates want them."""
    messages = row.content.get("messages")
    if not isinstance(messages, list) or not all(isinstance(one, dict) and "role" in one for one in messages):
        raise NotTrainable(f"The row {row.id!r} has no messages, each with role and content.")
    return [_called(message) for message in messages]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def check_answers(rows: Sequence[Row], form: Form) -> None:
    """Raise `NotTrainable` when a conversation has nothing that the assistant said."""
    for row in rows:
        if not any(message["role"] == "assistant" and message.get("content") for message in conversation_of(row, form)):
            raise NotTrainable(
                f"The row {row.id!r} has no turn of the assistant to learn from.",
                hint="Each conversation needs a message with the role assistant.",
            )


def check_preferences(rows: Sequence[Row]) -> None:
    """Raise `NotTrainable` where there are no two answers to compare."""
    for row in rows:
        chosen, rejected = row.content.get("chosen"), row.content.get("rejected")
        if not messages_of(row) or not isinstance(chosen, str) or not isinstance(rejected, str):
            raise NotTrainable(f"The row {row.id!r} has no messages with a chosen and a rejected answer.")
        if chosen == rejected:
            raise NotTrainable(f"The two answers of the row {row.id!r} are the same: neither is better.")


def check_ratings(rows: Sequence[Row]) -> None:
    """Raise `NotTrainable` where there is no answer with a verdict, or nothing to compare it with."""
    for row in rows:
        if not messages_of(row) or not isinstance(row.content.get("answer"), str) or "good" not in row.content:
            raise NotTrainable(f"The row {row.id!r} has no messages with an answer that is good or not.")
    if len(rows) < 2:
        raise NotTrainable("One rated answer cannot be compared with anything.", hint="Add rows.")


def _called(message: Message) -> Message:
    """Arguments of calls as objects: templates write them as JSON again."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_parsed(call) for call in calls]}


def _parsed(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if isinstance(function, dict) and isinstance(function.get("arguments"), str):
        with suppress(ValueError, RecursionError):  # what is no JSON reaches the template as it was
            return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}
    return call
