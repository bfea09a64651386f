"""Turn texts into vectors, so that those that mean the same lie near each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.dataset import NotTrainable
from inhouse.training.recipe import Looped, recipe

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.matching import Pairing
    from inhouse.training.task import Task


@recipe("embed")
class Embed(Looped):
    """Train a compact embedder from scratch, or fine-tune a pretrained encoder. Empty numbers mean: what suits it."""

    forms = (Form.PAIR, Form.TEXT)

    base: str | None = None
    temperature: float = Field(default=0.05, gt=0, le=1)
    negatives: int = Field(default=1, ge=0, le=32)
    mined_negatives: int = Field(default=0, ge=0, le=100)
    max_length: int = Field(default=128, ge=8, le=8192)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        if splits.form is Form.TEXT:
            splits.check_labels()
        from inhouse.training.matches import read_groups, read_matches

        groups = read_groups(splits.train, splits.form)
        matches = read_matches(splits.train, splits.form, groups)
        if len({groups.number(match.text) for match in matches}) < 2:
            raise NotTrainable(
                "The training rows hold fewer than two groups of texts that mean the same.",
                hint="Add pairs of texts that mean the same, or labels with at least two texts each.",
            )

    def prepare(self, splits: Splits, *, seed: int) -> Task[Pairing]:
        import torch

        from inhouse.training.networks.matching import Matching

        torch.manual_seed(seed)
        if self.base:
            from inhouse.training.networks.text_encoder import open_encoder

            encoder, tokenizer = open_encoder(self.base, max_length=self.max_length)
            plan = self.plan(seed, epochs=3, batch_size=64, learning_rate=1e-4)
            return Matching(self, plan, splits, encoder, tokenizer)
        from inhouse.training.matches import every_text
        from inhouse.training.networks.text_classifier import character_tokenizer
        from inhouse.training.networks.text_encoder import TextEncoder

        texts = every_text(splits.train, splits.form)
        tokenizer = character_tokenizer(texts, max_length=self.max_length)
        network = TextEncoder()
        network.weigh(texts, tokenizer)
        plan = self.plan(seed, epochs=10, batch_size=64, learning_rate=3e-3)
        return Matching(self, plan, splits, network, tokenizer)
