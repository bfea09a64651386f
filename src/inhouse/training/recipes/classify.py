"""Sort a text into one of a set of labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from inhouse.training.recipe import Recipe, recipe
from inhouse.training.task import Plan

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.networks.classification import Encoded
    from inhouse.training.task import Task

Number = TypeVar("Number", int, float)


@recipe("classify")
class Classify(Recipe):
    """Train a compact classifier from scratch, or fine-tune a local encoder. Empty numbers mean: what suits it."""

    base: Path | None = None
    epochs: int | None = Field(default=None, ge=1, le=1000)
    batch_size: int | None = Field(default=None, ge=1, le=4096)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    patience: int = Field(default=5, ge=0)
    max_length: int = Field(default=256, ge=8, le=8192)
    correction_weight: float = Field(default=4.0, ge=1, le=100)

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
        plan = self._plan(seed, epochs=12, batch_size=64, learning_rate=1e-2)
        return Classification(self, plan, splits, network, tokenizer)

    def _on_encoder(self, base: Path, splits: Splits, seed: int) -> Task[Encoded]:
        from inhouse.training.networks.classification import Classification
        from inhouse.training.networks.encoder_classifier import EncoderClassifier, open_base

        encoder, tokenizer = open_base(base, max_length=self.max_length)
        network = EncoderClassifier(encoder, len(splits.labels), dropout=_or(self.dropout, 0.1))
        plan = self._plan(seed, epochs=3, batch_size=32, learning_rate=5e-5, bf16=True)
        return Classification(self, plan, splits, network, tokenizer)

    def _plan(self, seed: int, *, epochs: int, batch_size: int, learning_rate: float, bf16: bool = False) -> Plan:
        return Plan(
            epochs=_or(self.epochs, epochs),
            batch_size=_or(self.batch_size, batch_size),
            learning_rate=_or(self.learning_rate, learning_rate),
            patience=self.patience,
            seed=seed,
            bf16=bf16,
        )


def _or(chosen: Number | None, default: Number) -> Number:
    return default if chosen is None else chosen
