"""A moving average of the weights, steadier than the weights themselves."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Follows the trained weights of a module: each step, `keep` of the old average stays."""

    def __init__(self, module: nn.Module, keep: float) -> None:
        self._keep = keep
        self._names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        self._live = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._mean = [parameter.detach().clone() for parameter in self._live]

    def follow(self, step: int) -> None:
        """Take in the weights after a step. Early averages forget faster: they are of the untrained network."""
        keep = min(self._keep, (1 + step) / (10 + step))
        torch.ops.aten._foreach_lerp_(self._mean, [parameter.detach() for parameter in self._live], 1 - keep)

    @contextmanager
    def applied(self) -> Generator[None]:
        """The module has the average as its weights, for as long as the block lasts."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Exchange the average and the weights."""
        for number, parameter in enumerate(self._live):
            parameter.data, self._mean[number] = self._mean[number], parameter.data

    def state(self) -> dict[str, Tensor]:
        return dict(zip(self._names, self._mean, strict=True))

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, mean in zip(self._names, self._mean, strict=True):
            mean.copy_(state[name])
