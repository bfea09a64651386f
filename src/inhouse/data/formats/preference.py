"""A better and a worse answer, in the shapes that preference sets have."""

from collections.abc import Sequence
from typing import Any

from inhouse.data.columns import Unfit
from inhouse.data.conversation import messages_of, shared_beginning
from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, about, every, rest, row_format
from inhouse.data.formats.alpaca import history_of, instruction_of

_CHOSEN = ("chosen", "preferred_output", "response_chosen")
_REJECTED = ("rejected", "non_preferred_output", "response_rejected")
_PROMPTS = ("prompt", "messages", "conversations", "question", "query", "input", "instruction", "history")


@row_format("preference")
class Preference(Format):
    """`prompt`, `chosen` and `rejected`, as texts or messages; without `prompt` it is what the answers begin with."""

    forms = (Form.PREFERENCE,)
    file = "jsonl"
    order = 10

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        def is_choice(row: Row) -> bool:
            return any(row.get(name) for name in _CHOSEN) and any(row.get(name) for name in _REJECTED)

        return Form.PREFERENCE if every(rows, is_choice) else None

    def unfold(self, row: Row, form: Form) -> Row:
        chosen, rejected = (
            next((row[name] for name in names if row.get(name)), None) for names in (_CHOSEN, _REJECTED)
        )
        known = {name: row.get(name) for name in ("system", "split", "source", "user", "meta")}
        return {
            "messages": _asked(row, chosen, rejected),
            "chosen": chosen,
            "rejected": rejected,
            **known,
            "extra": rest(row, *known, *_PROMPTS, *_CHOSEN, *_REJECTED),
        }

    def fold(self, example: Example, form: Form) -> Row:
        content = example.content
        answers = {name: [{"role": "assistant", "content": content[name]}] for name in ("chosen", "rejected")}
        return {"prompt": content["messages"], **answers, **about(example)}


def _asked(row: Row, chosen: Any, rejected: Any) -> Any:
    if "instruction" in row:
        return [*history_of(row), {"role": "user", "content": instruction_of(row)}]
    for name in _PROMPTS:
        if given := row.get(name):
            return given["messages"] if isinstance(given, dict) and "messages" in given else given
    try:
        asked = shared_beginning(messages_of(chosen), messages_of(rejected))
    except ValueError as error:
        raise Unfit("chosen", str(error)) from error
    if not asked:
        raise Unfit("chosen", "The answers have no question: neither a prompt nor a beginning that both share.")
    return asked
