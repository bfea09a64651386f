"""What the `classify` recipe gives the loop: encoded texts, a network, and its evaluation and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from inhouse.core.ids import now
from inhouse.training.dataset import Row, Splits
from inhouse.training.evaluate import Report, evaluate, fit_temperature, softmax, unknown_threshold
from inhouse.training.export import write_artifact
from inhouse.training.networks.network import Network, outputs_of
from inhouse.training.task import Batch, Emit, Judged, Plan, Task

if TYPE_CHECKING:
    from inhouse.training.recipes.classify import Classify


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row as token numbers. A weight of 4 counts as much as four rows."""

    id: str
    tokens: list[int]
    target: int
    weight: float

    def __len__(self) -> int:
        return len(self.tokens)


class Classification(Task[Encoded]):
    """Learns to sort texts into the labels of the training rows."""

    def __init__(self, recipe: Classify, plan: Plan, splits: Splits, network: Network, tokenizer: Tokenizer) -> None:
        self.plan = plan
        self.module = self._network = network
        self._recipe = recipe
        self._splits = splits
        self._labels = splits.labels
        self._tokenizer = tokenizer
        self.train = self._encode(splits.train)
        self.dev = self._encode(splits.dev)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self._network.parameter_groups(self.plan)

    def collate(self, items: Sequence[Encoded]) -> Batch:
        longest = max(map(len, items))
        pad = (self._tokenizer.padding or {"pad_id": 0})["pad_id"]
        return {
            "input_ids": torch.tensor([item.tokens + [pad] * (longest - len(item)) for item in items]),
            "attention_mask": torch.tensor([[1] * len(item) + [0] * (longest - len(item)) for item in items]),
            "target": torch.tensor([item.target for item in items]),
            "weight": torch.tensor([item.weight for item in items]),
        }

    def loss(self, batch: Batch) -> Tensor:
        smoothing = self._recipe.label_smoothing
        losses = F.cross_entropy(self._logits(batch), batch["target"], reduction="none", label_smoothing=smoothing)
        return (losses * batch["weight"]).mean()

    def judge(self, batch: Batch) -> Judged:
        logits = self._logits(batch)
        loss = F.cross_entropy(logits, batch["target"], reduction="sum")
        return Judged(loss.item(), int((logits.argmax(-1) == batch["target"]).sum()), len(logits))

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        self._network.cpu()
        temperature, threshold = self._calibrate()
        report = self._evaluate(temperature)
        metrics = report.metrics() if report else {}
        emit("evaluated", metrics=metrics)
        truncation = self._tokenizer.truncation
        assert truncation is not None
        manifest = {
            "kind": "classify",
            "created_at": now(),
            "labels": self._labels,
            "signature": {"inputs": {"text": "string"}, "outputs": {"label": "string", "scores": "map"}},
            "max_length": truncation["max_length"],
            "temperature": temperature,
            "unknown_threshold": threshold,
            "metrics": metrics,
            "lineage": dict(lineage),
        }
        samples = [row.text for row in self._splits.dev or self._splits.train]
        write_artifact(directory, self._network, self._tokenizer, manifest, samples=samples)
        emit("exported")
        return metrics

    def _calibrate(self) -> tuple[float, float]:
        """Return the temperature and the unknown threshold that suit the dev split; neutral ones without it."""
        if not self.dev:
            return 1.0, 0.0
        logits = self._predict([row.text for row in self._splits.dev]).numpy()
        targets = torch.tensor([item.target for item in self.dev]).numpy()
        temperature = fit_temperature(logits, targets)
        probabilities = softmax(logits / temperature)
        return temperature, unknown_threshold(probabilities.max(-1), probabilities.argmax(-1) == targets)

    def _evaluate(self, temperature: float) -> Report | None:
        """Judge on the test split; on dev where no row was held out for testing; where there is neither, not at all."""
        rows = self._splits.test or self._splits.dev

        def predict(texts: Sequence[str]) -> list[dict[str, float]]:
            probabilities = softmax(self._predict(texts).double().numpy() / temperature)
            return [dict(zip(self._labels, row, strict=True)) for row in probabilities.tolist()]

        return evaluate(predict, rows) if rows else None

    def _predict(self, texts: Sequence[str]) -> Tensor:
        return outputs_of(self._network, self._tokenizer, texts)

    def _logits(self, batch: Batch) -> Tensor:
        return self._network(batch["input_ids"], batch["attention_mask"])

    def _encode(self, rows: Sequence[Row]) -> list[Encoded]:
        numbers = {label: number for number, label in enumerate(self._labels)}
        weight = self._recipe.correction_weight
        return [
            Encoded(
                id=row.id,
                tokens=self._tokenizer.encode(row.text).ids,
                target=numbers[row.label],
                weight=weight if row.is_correction else 1.0,
            )
            for row in rows
        ]
