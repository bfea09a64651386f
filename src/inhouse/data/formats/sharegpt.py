"""Conversations as ShareGPT wrote them: `from` and `value`."""

from collections.abc import Sequence

from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, about, every, rest, row_format

_FROM = {"user": "human", "assistant": "gpt", "system": "system", "tool": "tool"}


@row_format("sharegpt")
class ShareGPT(Format):
    """`{"conversations": [{"from", "value"}, …], "system"?}`; `kto_tag` or `chosen` and `rejected` beside it."""

    forms = (Form.CHAT,)
    order = 20

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        if not every(rows, lambda row: _is_spoken(row.get("conversations"))):
            return None
        return None if {"chosen", "kto_tag"} & rows[0].keys() else Form.CHAT

    def unfold(self, row: Row, form: Form) -> Row:
        known = {name: row.get(name) for name in ("system", "split", "source", "user", "meta")}
        return {"messages": row.get("conversations"), **known, "extra": rest(row, "conversations", *known)}

    def fold(self, example: Example, form: Form) -> Row:
        said = [{"from": _FROM[one["role"]], "value": one["content"]} for one in example.content["messages"]]
        return {"conversations": said, **about(example)}


def _is_spoken(messages: object) -> bool:
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(message, dict) and message.keys() & {"from", "role"} for message in messages)
    )
