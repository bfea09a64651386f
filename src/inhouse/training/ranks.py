"""The processes that train one run together: this one alone, or as many as torchrun has started."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from inhouse.training.task import Batch, Task

Thing = TypeVar("Thing")


class Ranks:
    """One process that trains alone; `Many` is the same for several. Each is a rank, and rank 0 decides and writes."""

    number = 0
    count = 1

    @property
    def is_first(self) -> bool:
        return self.number == 0

    def share(self, things: Sequence[Thing]) -> Sequence[Thing]:
        """The part of the things that is this rank's to do."""
        return things[self.number :: self.count] if self.count > 1 else things

    def told(self, *values: float) -> Sequence[float]:
        """What the first rank has for these values: so all do the same."""
        return values

    def total(self, *values: float) -> Sequence[float]:
        """The sums of the values over all ranks."""
        return values

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks, by number."""
        return [tensor]

    def forward(self, task: Task[Any]) -> Callable[[Batch], Tensor]:
        """The task's loss, so that going back from it sums the gradients of all ranks."""
        return task.loss

    def apart(self, forward: Callable[[Batch], Tensor]) -> AbstractContextManager[None]:
        """In this block every rank keeps its gradients to itself; the next time outside of it sums them too."""
        return nullcontext()


class Many(Ranks):
    """One of several processes, joined by torch.distributed."""

    def __init__(self, device: torch.device) -> None:
        self.number = distributed.get_rank()
        self.count = distributed.get_world_size()
        self._device = device

    def told(self, *values: float) -> Sequence[float]:
        tensor = self._tensor(values)
        distributed.broadcast(tensor, 0)
        return tensor.tolist()

    def total(self, *values: float) -> Sequence[float]:
        tensor = self._tensor(values)
        distributed.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, tensor: Tensor) -> list[Tensor]:
        here = tensor.to(self._device)
        everyones = [torch.empty_like(here) for _ in range(self.count)]
        distributed.all_gather(everyones, here)
        return [one.to(tensor.device) for one in everyones]

    def forward(self, task: Task[Any]) -> Callable[[Batch], Tensor]:
        return DistributedDataParallel(_Loss(task), find_unused_parameters=True)

    def apart(self, forward: Callable[[Batch], Tensor]) -> AbstractContextManager[None]:
        assert isinstance(forward, DistributedDataParallel)
        return forward.no_sync()

    def _tensor(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)


class _Loss(nn.Module):
    """A task's loss as a module around its network: what DistributedDataParallel can wrap."""

    def __init__(self, task: Task[Any]) -> None:
        super().__init__()
        self.network = task.module
        self._loss = task.loss

    def forward(self, batch: Batch) -> Tensor:
        return self._loss(batch)


def own_device() -> torch.device:
    """The GPU of this process where there are any, else the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = distributed.get_rank() if distributed.is_initialized() else 0
    return torch.device("cuda", number % torch.cuda.device_count())


@contextmanager
def joined() -> Generator[Ranks]:
    """Join the processes that torchrun started beside this one; alone when it started none."""
    if not distributed.is_torchelastic_launched():
        yield Ranks()
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        device = own_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        yield Many(device)
    finally:
        distributed.destroy_process_group()
