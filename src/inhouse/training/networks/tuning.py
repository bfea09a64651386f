"""What the tasks of all recipes for language models have in common: batches of sequences, and the artifact."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from inhouse.training.batches import epoch_batches
from inhouse.training.dataset import NotTrainable, Splits
from inhouse.training.networks.language_artifact import write_language_artifact
from inhouse.training.networks.packing import laid_out, packed_batches
from inhouse.training.networks.student import Student
from inhouse.training.networks.tokens import Tokens
from inhouse.training.networks.writing import write_samples
from inhouse.training.precision import autocast, number_type
from inhouse.training.task import Batch, Emit, Plan, Task

if TYPE_CHECKING:
    from inhouse.training.language import Wanted

SAMPLE_TOKENS = 64


class Sequences(Protocol):
    """An item made of one or more sequences."""

    @property
    def id(self) -> str: ...
    def __len__(self) -> int: ...
    def sequences(self) -> Sequence[Tokens]: ...


Learnable = TypeVar("Learnable", bound=Sequences)


class Tuning(Task[Learnable]):
    """Trains a language model on sequences of tokens."""

    loss_decides = True

    def __init__(self, wanted: Wanted, plan: Plan, splits: Splits, student: Student) -> None:
        self.plan = plan
        self.wanted = wanted
        self.student = student
        self.splits = splits
        self.network = self.module = student.network

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.network.parameter_groups(self.plan)

    def batches(self, epoch: int) -> list[list[int]]:
        lengths = [len(item) for item in self.train]
        every = {"seed": self.plan.seed, "epoch": epoch}
        if self.student.capacity:
            return packed_batches(lengths, self._capacity, self.plan.batch_size, **every)
        return epoch_batches(lengths, self.plan.batch_size, **every)

    def collate(self, items: Sequence[Learnable]) -> Batch:
        sequences = [one for item in items for one in item.sequences()]
        return laid_out(sequences, capacity=self.student.capacity)

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        self.network.eval()
        with torch.inference_mode(), self.autocast():
            metrics = self.metrics()
        if self.wanted.samples:
            metrics["samples"] = write_samples(
                self.student, self.splits, count=self.wanted.samples, tokens=SAMPLE_TOKENS
            )
        if truncated := self.student.reader.truncated:
            metrics["truncated_rows"] = truncated
        emit("evaluated", metrics=metrics)
        write_language_artifact(directory, self.student, self.wanted, metrics=metrics, lineage=lineage)
        emit("exported")
        return metrics

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """How good the trained model is on the test rows; on the dev rows where none was held out for testing."""

    @property
    def warnings(self) -> list[str]:
        """What whoever watches the run should know."""
        reader = self.student.reader
        if not reader.truncated:
            return []
        what = "sequence is" if reader.truncated == 1 else "sequences are"
        return [f"{reader.truncated} {what} longer than {reader.max_length} tokens; the rest is not read."]

    @property
    def _capacity(self) -> int:
        """Items of several sequences are packed by their sum, so that each may need a row of its own."""
        return max(self.student.capacity, max(map(len, self.train), default=0))

    def judged(self, items: Sequence[Learnable]) -> tuple[float, float, float]:
        """Loss, accuracy and count over items, as the loop judges dev rows."""
        order = sorted(items, key=len)
        size = 4 * self.plan.batch_size
        total = right = count = 0.0
        for start in range(0, len(order), size):
            found = self.judge(self.on_device(self.collate(order[start : start + size])))
            total, right, count = total + found.loss, right + found.right, count + found.count
        return total / max(count, 1), right / max(count, 1), count

    def on_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.network.device) for name, tensor in batch.items()}

    def autocast(self) -> Any:
        return autocast(self.network.device, number_type(self.plan.precision, self.network.device))


def check_learnable(items: Sequence[Sequences]) -> None:
    """Raise `NotTrainable` when no row has anything to learn within the tokens that are read."""
    if not items:
        raise NotTrainable(
            "No training row has anything to learn within the tokens that are read.", hint="Raise max_length."
        )
