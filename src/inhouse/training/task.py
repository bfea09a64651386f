"""What a recipe hands to the loop: a network, its rows, and how to batch, judge and finish them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from inhouse.training.batches import epoch_batches

if TYPE_CHECKING:
    from torch import Tensor, nn

Batch = Mapping[str, "Tensor"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Schedule = Literal["linear", "cosine", "constant"]
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
    schedule: Schedule = "linear"
    clip_norm: float = 1.0
    accumulate: int = 1
    """Batches whose gradients are summed before the weights move once."""
    patience: int = 0
    precision: Precision = "auto"
    ema: float = 0.0
    """Share of the old average that stays at each step; 0 keeps no average of the weights."""
    gradient_checkpointing: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """What the dev rows of a batch came to: summed loss and right answers, both over `count` things judged."""

    loss: float
    right: float
    count: int


class Fit(ABC):
    """Something that is trained in one go, without the loop: there is nothing in it to resume."""

    @abstractmethod
    def fit(self, *, emit: Emit, should_stop: Callable[[], bool]) -> bool:
        """Train; False when asked to stop before the end."""

    @abstractmethod
    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        """Evaluate what was trained, write the artifact directory whole, and return the metrics."""


class Task(ABC, Generic[ItemType]):
    """One thing to train. The loop knows nothing about texts or labels, only this."""

    plan: Plan
    module: nn.Module
    """Weights that need no gradient must stay as they were made: checkpoints leave them out."""
    divisible: ClassVar[bool] = True
    """Whether the loss of a batch is the mean over its rows: then it may be computed in parts."""
    loss_decides: ClassVar[bool] = False
    """Whether the best epoch is that of the lowest dev loss, not of the most right answers: where few can be right."""
    train: Sequence[ItemType]
    dev: Sequence[ItemType]

    @property
    def warnings(self) -> Sequence[str]:
        """What whoever watches the run should know of its rows."""
        return ()

    @abstractmethod
    def collate(self, items: Sequence[ItemType]) -> Batch:
        """Pad the items to the longest of them."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch."""

    @abstractmethod
    def judge(self, batch: Batch) -> Judged:
        """What a batch of dev rows comes to."""

    def weight(self, items: Sequence[ItemType]) -> float:
        """How much these items count beside others in the same step: what their loss is the mean of, in number."""
        return len(items)

    def batches(self, epoch: int) -> list[list[int]]:
        """The rows of each batch of an epoch, a function of plan and epoch alone. Every epoch has as many batches."""
        lengths = [len(item) for item in self.train]
        return epoch_batches(lengths, self.plan.batch_size, seed=self.plan.seed, epoch=epoch)

    @abstractmethod
    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        """Evaluate the trained network, write the artifact directory whole, and return the metrics."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimizer is to move, as torch takes it; a group may carry its own `lr`."""
