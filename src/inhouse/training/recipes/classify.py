"""Sort a text into one of a set of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.recipe import Looped, recipe

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.classification import Encoded
    from inhouse.training.task import Task

Number = TypeVar("Number", int, float)


@recipe("classify")
class Classify(Looped):
    """Train a compact classifier from scratch, or fine-tune a local encoder. Empty numbers mean: what suits it."""

    forms = (Form.TEXT,)

    base: str | None = None
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    max_length: int = Field(default=256, ge=8, le=8192)
    correction_weight: float = Field(default=4.0, ge=1, le=100)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        splits.check_labels()

    def prepare(self, splits: Splits, *, seed: int) -> Task[Encoded]:
        import torch

        torch.manual_seed(seed)
        return self._on_encoder(self.base, splits, seed) if self.base else self._from_scratch(splits, seed)

    def _from_scratch(self, splits: Splits, seed: int) -> Task[Encoded]:
        from inhouse.training.networks.classification import Classification
        from inhouse.training.networks.text_classifier import TextClassifier, character_tokenizer

        texts = [row.text for row in splits.train]
        tokenizer = character_tokenizer(texts, max_length=self.max_length)
        network = TextClassifier(len(splits.labels), dropout=_or(self.dropout, 0.5))
        network.weigh(texts, tokenizer)
        plan = self.plan(seed, epochs=12, batch_size=64, learning_rate=1e-2)
        return Classification(self, plan, splits, network, tokenizer)

    def _on_encoder(self, base: str, splits: Splits, seed: int) -> Task[Encoded]:
        from inhouse.training.networks.classification import Classification
        from inhouse.training.networks.encoder_classifier import EncoderClassifier, open_base

        encoder, tokenizer = open_base(base, max_length=self.max_length)
        network = EncoderClassifier(encoder, len(splits.labels), dropout=_or(self.dropout, 0.1))
        plan = self.plan(seed, epochs=3, batch_size=32, learning_rate=5e-5)
        return Classification(self, plan, splits, network, tokenizer)


def _or(chosen: Number | None, default: Number) -> Number:
    return default if chosen is None else chosen
