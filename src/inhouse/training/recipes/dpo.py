"""Teach a language model which of two answers is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.conversations import check_preferences
from inhouse.training.language import Tuned
from inhouse.training.recipe import recipe

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.preference import Pair
    from inhouse.training.task import Task


@recipe("dpo")
class DirectPreferences(Tuned):
    """Direct preference optimisation, against the model as it was at the start. Empty numbers mean: what suits it."""

    forms = (Form.PREFERENCE,)

    beta: float = Field(default=0.1, gt=0, le=100)
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        check_preferences(splits.train + splits.dev + splits.test)

    def prepare(self, splits: Splits, *, seed: int) -> Task[Pair]:
        from inhouse.training.networks.preference import Preferences

        said = (text for row in splits.train for text in (row.text, row.content["chosen"], row.content["rejected"]))
        student = self.student(said, seed=seed)
        rate = self.suited(lora=2e-5, full=1e-6, scratch=1e-4)
        plan = self.plan(seed, epochs=2, batch_size=8, learning_rate=rate)
        smoothing = self.label_smoothing
        return Preferences(self.wanted, plan, splits, student, beta=self.beta, label_smoothing=smoothing)
