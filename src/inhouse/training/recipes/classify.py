"""Sort a text into one of a set of labels, or into all that fit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.labels import Labelled, labelled, labels_of
from inhouse.training.recipe import Looped, recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from inhouse.training.dataset import Row, Splits
    from inhouse.training.networks.encoded import Encoded
    from inhouse.training.networks.objectives import Objective
    from inhouse.training.task import Fit, Task

Number = TypeVar("Number", int, float)

OUTSIDE_WEIGHT = 2.0
"""What a row of no label counts: there are few of them, and they stand for everything else that people write."""


@recipe("classify")
class Classify(Looped):
    """Train a compact classifier from scratch, or fine-tune an encoder. Empty numbers mean: what suits it."""

    forms = (Form.TEXT,)

    base: str | None = None
    effort: Literal["instant", "normal", "best"] = "normal"
    unknown_label: str = Field(default="oos", max_length=200)
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    head_learning_rate: float | None = Field(default=None, gt=0, le=1)
    freeze_embeddings: bool = True
    pooling: Literal["auto", "mean", "cls"] = "auto"
    max_length: int = Field(default=256, ge=8, le=8192)
    correction_weight: float = Field(default=4.0, ge=1, le=100)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        labelled(splits, unknown_label=self.unknown_label).check()

    def prepare(self, splits: Splits, *, seed: int) -> Task[Encoded] | Fit:
        import torch

        torch.manual_seed(seed)
        from inhouse.training.networks.beginning import is_from_scratch

        rows = labelled(splits, unknown_label=self.unknown_label)
        if self.base is None or is_from_scratch(self.base):
            return self._on_characters(rows, seed)
        return self._on_encoder(self.base, rows, seed)

    def _on_characters(self, rows: Labelled, seed: int) -> Task[Encoded]:
        from inhouse.training.networks.beginning import from_scratch, from_version
        from inhouse.training.networks.classification import Classification
        from inhouse.training.networks.classifier import Classifier
        from inhouse.training.networks.objectives import objective_of

        limits = {"max_length": self.max_length, "dropout": _or(self.dropout, 0.5)}
        if self.base is None:
            network, tokenizer = from_scratch([row.text for row in rows.inside.train], len(rows.names), **limits)
        else:
            network, tokenizer = from_version(self.base, rows.names, **limits)
        objective = objective_of(rows, smoothing=_or(self.label_smoothing, 0.1))
        train, dev = self._encode(rows, tokenizer, objective)
        epochs = {"instant": 6, "normal": 12, "best": 24}[self.effort]
        plan = self.plan(seed, epochs=epochs, batch_size=64, learning_rate=1e-2)
        return Classification(plan, Classifier(network, tokenizer, rows), objective, train=train, dev=dev)

    def _on_encoder(self, base: str, rows: Labelled, seed: int) -> Task[Encoded] | Fit:
        from inhouse.training.networks.beginning import on_encoder, suit_lengths, teach_head
        from inhouse.training.networks.classification import Classification
        from inhouse.training.networks.classifier import Classifier
        from inhouse.training.networks.encoded import pad_of
        from inhouse.training.networks.head import Instant
        from inhouse.training.networks.objectives import objective_of

        network, tokenizer = on_encoder(
            base,
            len(rows.names),
            max_length=self.max_length,
            dropout=self.dropout,
            pooling=None if self.pooling == "auto" else self.pooling,
            freeze_embeddings=self.freeze_embeddings,
            head_learning_rate=self.head_learning_rate,
        )
        objective = objective_of(rows, smoothing=_or(self.label_smoothing, 0.05))
        train, dev = self._encode(rows, tokenizer, objective)
        suit_lengths(network, [len(item) for item in train])
        classifier = Classifier(network, tokenizer, rows)
        if self.effort == "instant":
            head = {"learning_rate": self.head_learning_rate, "precision": self.precision}
            return Instant(classifier, network, objective, train=train, **head)
        teach_head(network, train, objective, pad=pad_of(tokenizer), precision=self.precision)
        epochs = {"normal": 2, "best": 4}[self.effort]
        plan = self.plan(seed, epochs=epochs, batch_size=32, learning_rate=2e-4)
        return Classification(plan, classifier, objective, train=train, dev=dev)

    def _encode(
        self, rows: Labelled, tokenizer: Tokenizer, objective: Objective
    ) -> tuple[list[Encoded], list[Encoded]]:
        """The rows to learn from, those of no label among them, and the rows to be steered by."""
        from inhouse.training.networks.encoded import encoded

        train = [*rows.inside.train, *rows.outside.train]
        counts = Counter(label for row in rows.inside.train for label in labels_of(row))
        even = sum(counts.values()) / len(counts)

        def weight(row: Row) -> float:
            known = [label for label in labels_of(row) if label in counts]
            rarity = sum(even / counts[label] for label in known) / len(known) if known else OUTSIDE_WEIGHT
            return (rarity if self.class_weights == "balanced" or not known else 1.0) * (
                self.correction_weight if row.is_correction else 1.0
            )

        return (
            encoded(train, rows, tokenizer, objective, weights=list(map(weight, train))),
            encoded(rows.inside.dev, rows, tokenizer, objective),
        )


def _or(chosen: Number | None, default: Number) -> Number:
    return default if chosen is None else chosen
