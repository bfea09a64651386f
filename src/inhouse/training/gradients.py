"""The gradient of a step: over several batches, in as many parts as memory asks for, on one process or many."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, cast

import torch

from inhouse.core.errors import Invalid, LimitExceeded
from inhouse.training import memory
from inhouse.training.optimizer import AdamW
from inhouse.training.precision import autocast, grad_scaler, number_type
from inhouse.training.ranks import Ranks
from inhouse.training.task import Emit, ItemType, Task


class LossNotFinite(Invalid):
    """The loss or its gradient became infinite or not a number."""


class OutOfMemory(LimitExceeded):
    """Not even the smallest part of a batch fits into memory."""


class Gradients(Generic[ItemType]):
    """Computes gradients. So many `rows_at_once` of a batch fit into memory at a time; 0 is all of them."""

    def __init__(
        self, task: Task[ItemType], optimizer: AdamW, *, device: torch.device, ranks: Ranks, emit: Emit
    ) -> None:
        self._task = task
        self._optimizer = cast("torch.optim.Optimizer", optimizer)  # it does what the scaler asks of one
        self._ranks = ranks
        self._emit = emit
        self._loss = ranks.forward(task)
        self._device = device
        self._dtype = number_type(task.plan.precision, device)
        self.scaler = grad_scaler(device, self._dtype)
        self.rows_at_once = 0

    def of(self, group: Sequence[Sequence[ItemType]], where: str) -> tuple[float, float]:
        """Leave the mean gradient of these batches on the weights, clipped; return the loss and the gradient's norm."""
        loss = self._backward(group, where)
        self.scaler.unscale_(self._optimizer)
        slope = torch.nn.utils.clip_grad_norm_(self._task.module.parameters(), self._task.plan.clip_norm).item()
        if not math.isfinite(loss) or not (math.isfinite(slope) or self.scaler.is_enabled()):
            every = [item for items in group for item in items]
            raise _not_finite(f"The loss became {loss}, its gradient {slope}", where, every)
        return loss, slope

    def follow(self, pace: float) -> None:
        """Move the weights, unless a gradient overflowed: then the next ones are scaled up less."""
        self.scaler.step(self._optimizer, pace)
        self.scaler.update()

    def autocast(self) -> AbstractContextManager[object]:
        return autocast(self._device, self._dtype)

    def look_at_memory(self) -> bool:
        """Lower the rows at a time when a batch of the longest ones would not fit; True when it had to be."""
        free = memory.free_bytes(self._device) if self._task.divisible and self._task.train else None
        if free is None:
            return False
        with self.autocast():
            fit = memory.rows_that_fit(self._task, free, self._device)
        if self._device.type == "cpu":
            fit = max(1, fit // self._ranks.count)
        (rows,) = self._ranks.told(fit)
        is_tight = rows * self._ranks.count < self._task.plan.batch_size
        if is_tight:
            self._limit(int(rows), f"With {free >> 20} MB free")
        return is_tight

    def _backward(self, group: Sequence[Sequence[ItemType]], where: str) -> float:
        self._task.module.train()
        while True:
            self._task.module.zero_grad(set_to_none=True)
            parts = [part for items in group for part in self._divided(items)]
            try:
                return self._sum(parts, where)
            except RuntimeError as error:
                if not memory.is_out_of_memory(error):
                    raise
                self._take_fewer(max(map(len, parts)), where, error)

    def _sum(self, parts: Sequence[Sequence[ItemType]], where: str) -> float:
        """Each part counts by its weight among all of them, so that a short one counts less."""
        ranks = self._ranks
        shared = [ranks.share(part) for part in parts]
        weights = [self._task.weight(part) if part else 0.0 for part in shared]
        (total,) = ranks.total(sum(weights))
        loss = 0.0
        for number, (items, weight) in enumerate(zip(shared, weights, strict=True)):
            share = weight / total if total else 1 / len(parts) / ranks.count
            with nullcontext() if number == len(parts) - 1 else ranks.apart(self._loss):
                value = self._part(items or parts[number][:1], share)
            if not math.isfinite(value) and ranks.count == 1:  # else all of them see it in their common gradient
                raise _not_finite(f"The loss became {value}", where, items)
            loss += value
        return ranks.total(loss)[0]

    def _part(self, items: Sequence[ItemType], share: float) -> float:
        batch = {name: tensor.to(self._device) for name, tensor in self._task.collate(items).items()}
        with self.autocast():
            loss = self._loss(batch)
        if share != 1:
            loss = loss * share
        summed = loss * self._ranks.count if self._ranks.count > 1 else loss  # which the ranks then average
        self.scaler.scale(summed).backward()
        return loss.item()

    def _divided(self, items: Sequence[ItemType]) -> list[Sequence[ItemType]]:
        size = self.rows_at_once * self._ranks.count or len(items)
        return [items[start : start + size] for start in range(0, len(items), size)]

    def _take_fewer(self, rows: int, where: str, error: RuntimeError) -> None:
        """Compute half as many rows at a time from now on: the gradient stays the same up to rounding."""
        if rows == 1 or not self._task.divisible or self._ranks.count > 1:
            raise OutOfMemory(
                f"Memory ran out at {where}, with {rows} rows at a time.",
                hint="Choose a smaller batch_size and a larger accumulate, shorter rows, or gradient_checkpointing.",
            ) from error
        self._limit((rows + 1) // 2, f"Memory ran out with {rows} rows")

    def _limit(self, rows: int, reason: str) -> None:
        self.rows_at_once = rows
        self._emit("warning", message=f"{reason}, batches are computed {rows} rows at a time.")


def _not_finite(what: str, where: str, items: Sequence[ItemType]) -> LossNotFinite:
    return LossNotFinite(
        f"{what} at {where}, in a batch of {len(items)} rows, {items[0].id} the first.",
        hint="Look at these rows, or choose a lower learning_rate.",
        rows=[item.id for item in items],
    )
