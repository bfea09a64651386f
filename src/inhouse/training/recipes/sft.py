"""Teach a language model to answer as the assistant does in your conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inhouse.data.examples import Form
from inhouse.training.conversations import check_answers, conversation_of
from inhouse.training.language import Tuned
from inhouse.training.recipe import recipe

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.supervised import Lesson
    from inhouse.training.task import Task


@recipe("sft")
class SupervisedFineTuning(Tuned):
    """Tune a base by LoRA or whole, or train a small model from scratch. Empty numbers mean: what suits it."""

    forms = (Form.CHAT, Form.PAIR, Form.TEXT)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        if splits.form is not Form.TEXT:
            check_answers(splits.train, splits.form)

    def prepare(self, splits: Splits, *, seed: int) -> Task[Lesson]:
        from inhouse.training.networks.supervised import Supervised

        said = (str(turn.get("content", "")) for row in splits.train for turn in conversation_of(row, splits.form))
        student = self.student(said, seed=seed)
        rate = self.suited(lora=2e-4, full=2e-5, scratch=1e-3)
        plan = self.plan(seed, epochs=3 if self.base else 20, batch_size=8, learning_rate=rate)
        return Supervised(self.wanted, plan, splits, student)
