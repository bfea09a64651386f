"""Single answers with a thumb up or down, as KTO takes them."""

from collections.abc import Sequence

from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, about, every, rest, row_format
from inhouse.data.formats.alpaca import history_of, instruction_of

_VERDICTS = ("kto_tag", "label", "good")


@row_format("kto")
class Kto(Format):
    """`{"prompt", "completion", "label"}`, or `kto_tag` beside an instruction or a conversation."""

    forms = (Form.RATING,)
    file = "jsonl"
    order = 10

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        if every(rows, lambda row: isinstance(row.get("kto_tag"), bool)):
            return Form.RATING
        return (
            Form.RATING if every(rows, lambda row: _is_tagged(row) and {"prompt", "completion"} <= row.keys()) else None
        )

    def unfold(self, row: Row, form: Form) -> Row:
        known = {name: row.get(name) for name in ("system", "split", "source", "user", "meta")}
        good = next((row[name] for name in _VERDICTS if name in row), None)
        asked = ("prompt", "messages", "conversations")
        messages = next((row[name] for name in asked if row.get(name)), None)
        answer = row.get("completion")
        if "instruction" in row:
            messages = [*history_of(row), {"role": "user", "content": instruction_of(row)}]
            answer = row.get("output")
        elif answer is None and isinstance(messages, list) and messages:
            messages, answer = messages[:-1], messages[-1:]
        extra = rest(row, *known, *asked, *_VERDICTS, "completion", "instruction", "input", "output", "history")
        return {"messages": messages, "answer": answer, "good": good, **known, "extra": extra}

    def fold(self, example: Example, form: Form) -> Row:
        content = example.content
        completion = [{"role": "assistant", "content": content["answer"]}]
        return {"prompt": content["messages"], "completion": completion, "label": content["good"], **about(example)}


def _is_tagged(row: Row) -> bool:
    return isinstance(row.get("label"), bool) or str(row.get("label")).strip().lower() in ("true", "false")
