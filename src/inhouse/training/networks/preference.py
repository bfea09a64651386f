"""What `dpo` and `kto` give the loop: answers that are better, worse, good or bad.

The model is compared with itself as it was before the first step: those likelihoods are computed once, for all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inhouse.training.batches import epoch_batches
from inhouse.training.conversations import messages_of
from inhouse.training.dataset import Row, Splits
from inhouse.training.language import Wanted
from inhouse.training.networks.packing import laid_out
from inhouse.training.networks.preference_losses import dpo_loss, kto_loss
from inhouse.training.networks.student import Student
from inhouse.training.networks.tokens import Reader, Tokens
from inhouse.training.networks.tuning import Tuning, check_learnable
from inhouse.training.task import Batch, Judged, Plan


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers, and how likely each was at the start."""

    chosen: Tokens
    rejected: Tokens
    references: tuple[float, ...] = ()

    @property
    def id(self) -> str:
        return self.chosen.id

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)

    def sequences(self) -> Sequence[Tokens]:
        return self.chosen, self.rejected


@dataclass(frozen=True, slots=True)
class Rated:
    """An answer and whether it was good, beside that to another question, and how likely each was at the start."""

    answer: Tokens
    other: Tokens
    good: bool
    references: tuple[float, ...] = ()

    @property
    def id(self) -> str:
        return self.answer.id

    def __len__(self) -> int:
        return len(self.answer) + len(self.other)

    def sequences(self) -> Sequence[Tokens]:
        return self.answer, self.other


class Preferences(Tuning[Pair]):
    """Learns which of two answers is better."""

    def __init__(
        self, wanted: Wanted, plan: Plan, splits: Splits, student: Student, *, beta: float, label_smoothing: float
    ) -> None:
        super().__init__(wanted, plan, splits, student)
        self._beta = beta
        self._label_smoothing = label_smoothing
        self.train = self._known(splits.train)
        check_learnable(self.train)
        self.dev = self._known(splits.dev)
        self._test = self._known(splits.test)

    def collate(self, items: Sequence[Pair]) -> Batch:
        return {**super().collate(items), "references": torch.tensor([item.references for item in items])}

    def loss(self, batch: Batch) -> Tensor:
        return self._losses(*self._ratios(batch)).mean()

    def judge(self, batch: Batch) -> Judged:
        chosen, rejected = self._ratios(batch)
        loss = self._losses(chosen, rejected).sum()
        return Judged(loss.item(), float((chosen > rejected).sum()), len(chosen))

    def metrics(self) -> dict[str, Any]:
        """Rewards are log-ratios times beta, as the paper has them."""
        held_out = self._test or self.dev
        if not held_out:
            return {}
        loss, accuracy, _ = self.judged(held_out)
        ratios = [self._ratios(self.on_device(self.collate([item]))) for item in held_out]
        chosen, rejected = (self._beta * torch.cat(side).mean().item() for side in zip(*ratios, strict=True))
        margin = chosen - rejected
        rewards = {"reward_chosen": chosen, "reward_rejected": rejected, "reward_margin": margin}
        return {"loss": loss, "reward_accuracy": accuracy, "count": len(held_out), **rewards}

    def _ratios(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """How much likelier the chosen and the rejected answers have become."""
        references = batch["references"]
        now = self.network.surprise(batch).sums(references.numel()).view_as(references)
        chosen, rejected = (now - references).unbind(1)
        return chosen, rejected

    def _losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        return dpo_loss(chosen, rejected, beta=self._beta, label_smoothing=self._label_smoothing)

    def _known(self, rows: Sequence[Row]) -> list[Pair]:
        pairs = [pair for row in rows if (pair := _pair(row, self.student.reader))]
        found = likelihoods(self, [one for pair in pairs for one in pair.sequences()])
        return [
            Pair(pair.chosen, pair.rejected, references) for pair, references in zip(pairs, _twos(found), strict=True)
        ]


class Ratings(Tuning[Rated]):
    """Learns from answers that were good or bad. How far the model has moved is estimated over a whole batch."""

    divisible = False

    def __init__(
        self,
        wanted: Wanted,
        plan: Plan,
        splits: Splits,
        student: Student,
        *,
        beta: float,
        desirable_weight: float,
        undesirable_weight: float,
    ) -> None:
        super().__init__(wanted, plan, splits, student)
        self._weights = {"beta": beta, "desirable": desirable_weight, "undesirable": undesirable_weight}
        self.train = self._known(splits.train)
        check_learnable(self.train)
        self.dev = self._known(splits.dev)
        self._test = self._known(splits.test)

    def collate(self, items: Sequence[Rated]) -> Batch:
        """The answers, and apart from them the mismatched ones: nothing is learned from those."""
        others = laid_out([item.other for item in items], capacity=self.student.capacity)
        return {
            **laid_out([item.answer for item in items], capacity=self.student.capacity),
            **{f"other_{name}": tensor for name, tensor in others.items()},
            "references": torch.tensor([item.references for item in items]),
            "good": torch.tensor([float(item.good) for item in items]),
        }

    def loss(self, batch: Batch) -> Tensor:
        ratio, mismatched = self._ratios(batch)
        return kto_loss(ratio, batch["good"], mismatched, **self._weights).mean()

    def judge(self, batch: Batch) -> Judged:
        """Right is an answer that has become likelier and was good, or less likely and was not."""
        ratio, mismatched = self._ratios(batch)
        losses = kto_loss(ratio, batch["good"], mismatched, **self._weights)
        return Judged(losses.sum().item(), float(((ratio > 0) == batch["good"].bool()).sum()), len(ratio))

    def metrics(self) -> dict[str, Any]:
        held_out = self._test or self.dev
        if not held_out:
            return {}
        loss, accuracy, _ = self.judged(held_out)
        gains = [(item.good, self._ratios(self.on_device(self.collate([item])))[0].item()) for item in held_out]
        rewards = {
            "reward_good": self._mean_reward([gain for good, gain in gains if good]),
            "reward_bad": self._mean_reward([gain for good, gain in gains if not good]),
        }
        if rewards["reward_good"] is not None and rewards["reward_bad"] is not None:
            rewards["reward_margin"] = rewards["reward_good"] - rewards["reward_bad"]
        return {"loss": loss, "reward_accuracy": accuracy, "count": len(held_out), **rewards}

    def _mean_reward(self, gains: Sequence[float]) -> float | None:
        return self._weights["beta"] * sum(gains) / len(gains) if gains else None

    def _ratios(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """How much likelier the answers have become, and the mismatched ones."""
        before, other_before = batch["references"].unbind(1)
        now = self.network.surprise(batch).sums(len(before))
        others = {name.removeprefix("other_"): one for name, one in batch.items() if name.startswith("other_")}
        with torch.no_grad():
            other_now = self.network.surprise(others).sums(len(before))
        return now - before, other_now - other_before

    def _known(self, rows: Sequence[Row]) -> list[Rated]:
        reader = self.student.reader
        answers = [(row, tokens) for row in rows for tokens in _answer(row, row, reader)]
        rated = []
        for number, (row, tokens) in enumerate(answers):
            after = answers[(number + 1) % len(answers)][0]
            rated += [Rated(tokens, other, bool(row.content["good"])) for other in _answer(row, after, reader)]
        found = likelihoods(self, [one for item in rated for one in item.sequences()])
        return [
            Rated(item.answer, item.other, item.good, references)
            for item, references in zip(rated, _twos(found), strict=True)
        ]


@torch.inference_mode()
def likelihoods(task: Tuning[Any], sequences: Sequence[Tokens]) -> list[float]:
    """The log-likelihood of what is learned of each sequence, as the model is now."""
    task.network.eval()
    found = [0.0] * len(sequences)
    for numbers in epoch_batches([len(one) for one in sequences], 4 * task.plan.batch_size, seed=0, epoch=0):
        batch = laid_out([sequences[number] for number in numbers], capacity=task.student.capacity)
        with task.autocast():
            sums = task.network.surprise(task.on_device(batch)).sums(len(numbers))
        for number, value in zip(numbers, sums.tolist(), strict=True):
            found[number] = value
    return found


def _pair(row: Row, reader: Reader) -> Pair | None:
    """Both answers; None where one of them has nothing within the tokens that are read."""
    messages = messages_of(row)
    chosen, rejected = (reader.answer(row.id, messages, row.content[side]) for side in ("chosen", "rejected"))
    return Pair(chosen[0], rejected[0]) if chosen and rejected else None


def _answer(row: Row, answered: Row, reader: Reader) -> list[Tokens]:
    """The question of one row with the answer of another."""
    return reader.answer(row.id, messages_of(row), answered.content["answer"])


def _twos(values: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(values[::2], values[1::2], strict=True))
