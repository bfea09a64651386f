"""What the recipes for classifiers give the loop: encoded texts, a network, and what it is to learn of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inhouse.training.networks.classifier import Classifier
from inhouse.training.networks.encoded import Encoded, pad_of, padded
from inhouse.training.networks.objectives import Objective
from inhouse.training.task import Batch, Emit, Judged, Plan, Task


class Classification(Task[Encoded]):
    """Learns to sort texts into labels."""

    def __init__(
        self,
        plan: Plan,
        classifier: Classifier,
        objective: Objective,
        *,
        train: Sequence[Encoded],
        dev: Sequence[Encoded],
    ) -> None:
        self.plan = plan
        self.module = self._network = classifier.network
        self.train = train
        self.dev = dev
        self._classifier = classifier
        self._objective = objective
        self._pad = pad_of(classifier.tokenizer)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self._network.parameter_groups(self.plan)

    def collate(self, items: Sequence[Encoded]) -> Batch:
        ids, mask = padded([item.tokens for item in items], self._pad)
        targets = torch.tensor([item.target for item in items])
        weights = torch.tensor([item.weight for item in items])
        batch = {"input_ids": ids, "attention_mask": mask, "target": targets, "weight": weights}
        soft = [item.soft for item in items if item.soft is not None]
        return {**batch, "soft": torch.stack(soft)} if soft else batch

    def loss(self, batch: Batch) -> Tensor:
        return (self._objective.losses(self._logits(batch), batch) * batch["weight"]).mean()

    def judge(self, batch: Batch) -> Judged:
        return self._objective.judge(self._logits(batch), batch)

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        return self._classifier.finish(directory, lineage=lineage, emit=emit)

    def _logits(self, batch: Batch) -> Tensor:
        return self._network(batch["input_ids"], batch["attention_mask"])
