"""What a recipe hands to the loop: a network, its rows, and how to batch, judge and finish them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

Batch = Mapping[str, "Tensor"]
Emit = Callable[..., object]
"""Reports an event: `emit("step", step=3, loss=0.2)`."""


class Item(Protocol):
    """One encoded row. Its length decides which rows share a batch."""

    @property
    def id(self) -> str: ...

    def __len__(self) -> int: ...


ItemType = TypeVar("ItemType", bound=Item)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the loop goes about it. `patience` epochs without a better dev loss end the run; 0 never does."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float = 1.0
    patience: int = 0
    seed: int = 0
    bf16: bool = False


class Task(ABC, Generic[ItemType]):
    """One thing to train. The loop knows nothing about texts or labels, only this."""

    plan: Plan
    module: nn.Module
    train: Sequence[ItemType]
    dev: Sequence[ItemType]

    @abstractmethod
    def collate(self, items: Sequence[ItemType]) -> Batch:
        """Pad the items to the longest of them."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch."""

    @abstractmethod
    def judge(self, batch: Batch) -> tuple[float, int]:
        """The summed dev loss of a batch and how many of its items are right."""

    @abstractmethod
    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        """Evaluate the trained network, write the artifact directory whole, and return the metrics."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimizer is to move, as torch takes it; a group may carry its own `lr`."""
