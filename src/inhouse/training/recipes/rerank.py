"""Tell whether two texts belong together: a question and a passage, two questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.dataset import NotTrainable
from inhouse.training.pairs import has_negatives, pairs_of, with_drawn
from inhouse.training.recipe import Looped, recipe

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.ranking import EncodedPair
    from inhouse.training.task import Task


@recipe("rerank")
class Rerank(Looped):
    """Train a small scorer of pairs from scratch, or a cross encoder on a local encoder."""

    forms = (Form.PAIR,)

    base: str | None = None
    negatives: int = Field(default=4, ge=0, le=64)
    max_length: int | None = Field(default=None, ge=16, le=8192)
    correction_weight: float = Field(default=4.0, ge=1, le=100)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        pairs = pairs_of(splits.train)
        pairs_of(splits.dev + splits.test)
        if not any(pair.matches for pair in pairs):
            raise NotTrainable("No training row is a pair that belongs together.", hint="Add pairs with a score of 1.")
        if not has_negatives(with_drawn(pairs, self.negatives, seed=0)):
            raise NotTrainable(
                "No training row is a pair that does not belong together.",
                hint="Add pairs with a score of 0, list `negatives`, or let some be drawn.",
            )

    def prepare(self, splits: Splits, *, seed: int) -> Task[EncodedPair]:
        import torch

        torch.manual_seed(seed)
        return self._on_encoder(self.base, splits, seed) if self.base else self._from_scratch(splits, seed)

    def _from_scratch(self, splits: Splits, seed: int) -> Task[EncodedPair]:
        from inhouse.training.networks.pair_scorer import CharacterPairScorer, pair_tokenizer
        from inhouse.training.networks.ranking import Ranking

        texts = list(dict.fromkeys(text for pair in pairs_of(splits.train) for text in (pair.text, pair.other)))
        tokenizer = pair_tokenizer(texts, max_length=self.max_length or 1024)
        network = CharacterPairScorer()
        network.weigh(texts, tokenizer)
        plan = self.plan(seed, epochs=10, batch_size=32, learning_rate=3e-3)
        return Ranking(self, plan, splits, network, tokenizer)

    def _on_encoder(self, base: str, splits: Splits, seed: int) -> Task[EncodedPair]:
        from inhouse.training.networks.pair_scorer import open_pair_scorer
        from inhouse.training.networks.ranking import Ranking

        network, tokenizer = open_pair_scorer(base, max_length=self.max_length or 256)
        plan = self.plan(seed, epochs=3, batch_size=32, learning_rate=5e-5)
        return Ranking(self, plan, splits, network, tokenizer)
