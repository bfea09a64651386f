"""Conversations as OpenAI's fine-tuning takes them: a list of messages with role and content."""

from collections.abc import Sequence

from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, about, every, rest, row_format


@row_format("openai")
class OpenAI(Format):
    """`{"messages": [{"role", "content"}, …]}`."""

    forms = (Form.CHAT,)
    file = "jsonl"

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        return Form.CHAT if every(rows, lambda row: _is_spoken(row.get("messages")) and "good" not in row) else None

    def unfold(self, row: Row, form: Form) -> Row:
        known = {name: row.get(name) for name in ("messages", "split", "source", "user", "meta")}
        return {**known, "extra": rest(row, *known)}

    def fold(self, example: Example, form: Form) -> Row:
        return {"messages": example.content["messages"], **about(example)}


def _is_spoken(messages: object) -> bool:
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(message, dict) and "role" in message for message in messages)
    )
