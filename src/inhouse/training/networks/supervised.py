"""What `sft` and `generate` give the loop: conversations to learn the answers of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from inhouse.data.examples import Form
from inhouse.training.conversations import conversation_of
from inhouse.training.dataset import Row, Splits
from inhouse.training.networks.packing import IGNORED
from inhouse.training.networks.student import Student
from inhouse.training.networks.tokens import Reader, Tokens
from inhouse.training.networks.tuning import Tuning, check_learnable
from inhouse.training.task import Batch, Judged, Plan

if TYPE_CHECKING:
    from inhouse.training.language import Wanted

MOST_EXPONENT = 50.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """A sequence to learn from."""

    tokens: Tokens

    @property
    def id(self) -> str:
        return self.tokens.id

    def __len__(self) -> int:
        return len(self.tokens)

    def sequences(self) -> Sequence[Tokens]:
        return (self.tokens,)


class Supervised(Tuning[Lesson]):
    """Learns to say what the assistant said. Every learned token counts the same, whichever batch it is in."""

    def __init__(self, wanted: Wanted, plan: Plan, splits: Splits, student: Student) -> None:
        super().__init__(wanted, plan, splits, student)
        self.train = lessons(splits.train, splits.form, student.reader)
        check_learnable(self.train)
        self.dev = lessons(splits.dev, splits.form, student.reader)

    def loss(self, batch: Batch) -> Tensor:
        return self.network.surprise(batch).surprise_N.mean()

    def weight(self, items: Sequence[Lesson]) -> float:
        return sum(item.tokens.targets for item in items)

    def judge(self, batch: Batch) -> Judged:
        learned = self.network.surprise(batch)
        count = int((batch["targets"] != IGNORED).sum())
        return Judged(learned.surprise_N.sum().item(), float(learned.right_N.sum()), count)

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.dev:
            found["dev_loss"] = self.judged(self.dev)[0]
        held_out = lessons(self.splits.test, self.splits.form, self.student.reader) or self.dev
        if not held_out:
            return found
        loss, accuracy, count = self.judged(held_out)
        perplexity = math.exp(min(loss, MOST_EXPONENT))
        return {"loss": loss, "perplexity": perplexity, "token_accuracy": accuracy, "tokens": int(count), **found}


def lessons(rows: Sequence[Row], form: Form, reader: Reader) -> list[Lesson]:
    """The rows as sequences; those without anything to learn are left out."""
    return [Lesson(tokens) for row in rows for tokens in _read(row, form, reader)]


def _read(row: Row, form: Form, reader: Reader) -> list[Tokens]:
    """A text without a label is text to learn as it is."""
    if form is Form.TEXT and not row.label:
        return reader.text(row.id, row.text)
    return reader.conversation(row.id, conversation_of(row, form))
