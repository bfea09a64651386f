"""Teach a language model to ask the same question in other words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from inhouse.data.examples import Form
from inhouse.training.dataset import NotTrainable
from inhouse.training.language import Tuned
from inhouse.training.paraphrase import INSTRUCTION, QUESTION, rephrasings
from inhouse.training.recipe import recipe

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.supervised import Lesson
    from inhouse.training.task import Task


@recipe("generate")
class SimilarQuestions(Tuned):
    """Learn paraphrases from pairs that are alike, or from texts of one label. Empty numbers mean: what suits it."""

    forms = (Form.PAIR, Form.TEXT)

    instruction: str = Field(default=INSTRUCTION, max_length=2000)
    partners: int = Field(default=3, ge=1, le=20)

    @field_validator("instruction")
    @classmethod
    def _names_the_question(cls, instruction: str) -> str:
        if QUESTION not in instruction:
            raise ValueError(f"it must contain {QUESTION}")
        return instruction

    def check(self, splits: Splits) -> None:
        super().check(splits)
        if not self._rephrased(splits, seed=0).train:
            raise NotTrainable(
                "No two training rows say the same in other words.",
                hint="Give pairs that are alike, or several texts of each label.",
            )

    def prepare(self, splits: Splits, *, seed: int) -> Task[Lesson]:
        from inhouse.training.networks.supervised import Supervised

        student = self.student((self.instruction, *(row.text for row in splits.train)), seed=seed)
        rate = self.suited(lora=2e-4, full=2e-5, scratch=1e-3)
        plan = self.plan(seed, epochs=3 if self.base else 20, batch_size=8, learning_rate=rate)
        wanted = replace(self.wanted, settings={"instruction": self.instruction})
        return Supervised(wanted, plan, self._rephrased(splits, seed), student)

    def _rephrased(self, splits: Splits, seed: int) -> Splits:
        """The rows as conversations: asked by the instruction, answered with another wording."""
        asked = {"instruction": self.instruction, "partners": self.partners, "seed": seed}
        train, dev, test = (rephrasings(rows, splits.form, **asked) for rows in (splits.train, splits.dev, splits.test))
        return replace(splits, train=train, dev=dev, test=test, form=Form.CHAT)
