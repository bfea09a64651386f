"""Teach a language model from answers that were rated good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.conversations import check_ratings
from inhouse.training.language import Tuned
from inhouse.training.recipe import recipe

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.preference import Rated
    from inhouse.training.task import Task


@recipe("kto")
class KahnemanTversky(Tuned):
    """Kahneman-Tversky optimisation, against the model as it was at the start. Empty numbers mean: what suits it."""

    forms = (Form.RATING,)

    beta: float = Field(default=0.1, gt=0, le=100)
    desirable_weight: float = Field(default=1.0, ge=0, le=100)
    undesirable_weight: float = Field(default=1.0, ge=0, le=100)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        check_ratings(splits.train)

    def prepare(self, splits: Splits, *, seed: int) -> Task[Rated]:
        from inhouse.training.networks.preference import Ratings

        said = (text for row in splits.train for text in (row.text, row.content["answer"]))
        student = self.student(said, seed=seed)
        rate = self.suited(lora=2e-5, full=1e-6, scratch=1e-4)
        plan = self.plan(seed, epochs=2, batch_size=8, learning_rate=rate)
        weights = {"desirable_weight": self.desirable_weight, "undesirable_weight": self.undesirable_weight}
        return Ratings(self.wanted, plan, splits, student, beta=self.beta, **weights)
