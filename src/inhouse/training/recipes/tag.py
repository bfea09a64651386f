"""Mark places in a text: names, dates, clauses of a contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.recipe import Looped, recipe
from inhouse.training.spans import labels_of

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.tagging import Tagged
    from inhouse.training.task import Task


@recipe("tag")
class Tag(Looped):
    """Train a tagger of characters from scratch, or of tokens on a local encoder. Empty numbers mean: what suits it."""

    forms = (Form.SPANS,)

    base: str | None = None
    max_length: int = Field(default=256, ge=16, le=8192)
    stride: int | None = Field(default=None, ge=0, le=4096)
    balance: float = Field(default=0.0, ge=0, le=1)
    crf: bool = False
    correction_weight: float = Field(default=4.0, ge=1, le=100)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        labels_of(splits)

    def prepare(self, splits: Splits, *, seed: int) -> Task[Tagged]:
        import torch

        torch.manual_seed(seed)
        return self._on_encoder(self.base, splits, seed) if self.base else self._from_scratch(splits, seed)

    def stride_for(self, max_length: int) -> int:
        """How many tokens a window repeats of the one before it: as asked, at most half, or else a quarter."""
        return max_length // 4 if self.stride is None else min(self.stride, max_length // 2 - 1)

    def _from_scratch(self, splits: Splits, seed: int) -> Task[Tagged]:
        from inhouse.training.networks.tagging import Tagging
        from inhouse.training.networks.token_tagger import CharacterTagger, tagging_tokenizer

        tokenizer = tagging_tokenizer(row.text for row in splits.train)
        network = CharacterTagger(2 * len(labels_of(splits)) + 1, tokenizer.get_vocab_size())
        plan = self.plan(seed, epochs=15, batch_size=16, learning_rate=2e-3)
        return Tagging(self, plan, splits, network, tokenizer, max_length=self.max_length)

    def _on_encoder(self, base: str, splits: Splits, seed: int) -> Task[Tagged]:
        from inhouse.models.spans import tags_of
        from inhouse.training.networks.tagging import Tagging
        from inhouse.training.networks.token_tagger import open_tagger

        network, tokenizer, longest = open_tagger(base, tags_of(labels_of(splits)), max_length=self.max_length)
        plan = self.plan(seed, epochs=4, batch_size=16, learning_rate=1e-4)
        return Tagging(self, plan, splits, network, tokenizer, max_length=longest)
