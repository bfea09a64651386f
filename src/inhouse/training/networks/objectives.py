"""What a classifier is taught, and how its logits are read: one label a text, or any number of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from inhouse.training.labels import Labelled
from inhouse.training.task import Batch, Judged

OUTSIDE = -1
"""The target of a text that is of none of the labels."""


class Objective(Protocol):
    """Turns the labels of texts into targets, and logits into a loss for each text."""

    def target(self, numbers: Sequence[int]) -> int | list[float]: ...

    def members(self, targets: Tensor, labels: int) -> Tensor:
        """Which texts are of which label, [texts, labels], of zeros and ones."""
        ...

    def losses(self, logits: Tensor, batch: Batch) -> Tensor: ...

    def judge(self, logits: Tensor, batch: Batch) -> Judged: ...


@dataclass(frozen=True, slots=True)
class OneLabel:
    """Each text has one label; a text outside of them is to look like none more than like another."""

    smoothing: float

    def target(self, numbers: Sequence[int]) -> int:
        return numbers[0] if numbers else OUTSIDE

    def members(self, targets: Tensor, labels: int) -> Tensor:
        return F.one_hot(targets.clamp(min=0), labels).float() * (targets != OUTSIDE)[:, None]

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        target = batch["target"]
        surprise = -F.log_softmax(logits.float(), -1)
        even = surprise.mean(-1)
        of_target = surprise.gather(1, target.clamp(min=0)[:, None])[:, 0]
        return torch.where(target == OUTSIDE, even, (1 - self.smoothing) * of_target + self.smoothing * even)

    def judge(self, logits: Tensor, batch: Batch) -> Judged:
        loss = F.cross_entropy(logits, batch["target"], reduction="sum")
        return Judged(loss.item(), int((logits.argmax(-1) == batch["target"]).sum()), len(logits))


@dataclass(frozen=True, slots=True)
class SeveralLabels:
    """Each label is a question of its own; a text is right when all of them are."""

    labels: int
    smoothing: float

    def target(self, numbers: Sequence[int]) -> list[float]:
        target = [0.0] * self.labels
        for number in numbers:
            target[number] = 1.0
        return target

    def members(self, targets: Tensor, labels: int) -> Tensor:
        return targets

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        smooth = batch["target"] * (1 - self.smoothing) + self.smoothing / 2
        return F.binary_cross_entropy_with_logits(logits.float(), smooth, reduction="none").sum(-1)

    def judge(self, logits: Tensor, batch: Batch) -> Judged:
        loss = F.binary_cross_entropy_with_logits(logits, batch["target"], reduction="none").sum(-1).sum()
        right = ((logits > 0) == (batch["target"] > 0.5)).all(-1).sum()
        return Judged(loss.item(), int(right), len(logits))


def objective_of(rows: Labelled, *, smoothing: float) -> Objective:
    return SeveralLabels(len(rows.names), smoothing) if rows.several else OneLabel(smoothing)
