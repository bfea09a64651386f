"""How much memory there is, how much training takes, and how many rows fit at a time."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inhouse.training.task import Task

SHARE = 0.5
"""Of the free memory that one pass may fill: the estimate knows what is kept for the way back, and nothing else."""

_CGROUP = Path("/sys/fs/cgroup")


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def used_mb(device: torch.device) -> float:
    """What this process holds; on a GPU, the most that it held there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def free_bytes(device: torch.device) -> int | None:
    """What is left on the device, also under a container's limit; None where nobody says."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    try:
        limit = int((_CGROUP / "memory.max").read_bytes())
        used = int((_CGROUP / "memory.current").read_bytes())
    except (OSError, ValueError):  # no container, or one without a limit
        return free
    return max(0, min(free, limit - used))


def rows_that_fit(task: Task[Any], free: int, device: torch.device) -> int:
    """How many of the longest rows go through the network at a time, by what one of them keeps for the way back."""
    longest = max(task.train, key=len)
    batch = {name: tensor.to(device) for name, tensor in task.collate([longest]).items()}
    weights = {parameter.untyped_storage().data_ptr() for parameter in task.module.parameters()}
    kept: dict[int, int] = {}

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    as_if_nothing_was = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with as_if_nothing_was, torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        task.loss(batch)
    return max(1, int(free * SHARE) // max(1, sum(kept.values())))
