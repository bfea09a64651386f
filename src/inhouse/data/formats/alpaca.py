"""Instructions as Alpaca wrote them."""

from collections.abc import Sequence

from inhouse.data.columns import Unfit
from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, about, dialogue, every, rest, row_format


@row_format("alpaca")
class Alpaca(Format):
    """`{"instruction", "input"?, "output", "system"?, "history"?}`; `input` goes on a line below the instruction."""

    forms = (Form.CHAT,)

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        is_alpaca = every(rows, lambda row: "instruction" in row and isinstance(row.get("output"), str))
        return Form.CHAT if is_alpaca and "kto_tag" not in rows[0] else None

    def unfold(self, row: Row, form: Form) -> Row:
        known = {name: row.get(name) for name in ("system", "split", "source", "user", "meta")}
        extra = rest(row, "instruction", "input", "output", "history", *known)
        messages = [*history_of(row), {"role": "user", "content": instruction_of(row)}]
        return {"messages": messages, "answer": row.get("output"), **known, "extra": extra}

    def fold(self, example: Example, form: Form) -> Row:
        system, turns = dialogue(example.content["messages"], self.name)
        (question, answer), earlier = turns[-1], turns[:-1]
        row: Row = {"instruction": question, "input": "", "output": answer}
        row |= {"system": system} if system else {}
        row |= {"history": [list(turn) for turn in earlier]} if earlier else {}
        return {**row, **about(example)}


def instruction_of(row: Row) -> str:
    parts = (str(row.get(name) or "").strip() for name in ("instruction", "input"))
    return "\n".join(part for part in parts if part)


def history_of(row: Row) -> list[Row]:
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise Unfit("history", "Is not a list of questions with their answers.")
    roles = ("user", "assistant")
    return [{"role": role, "content": said} for turn in history for role, said in zip(roles, turn, strict=True)]
