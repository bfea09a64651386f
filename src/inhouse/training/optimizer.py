"""AdamW on torch's fused kernel, with a state that is nothing but tensors.

`torch.optim` computes the same, but its first step imports torch's compiler: four seconds of processor time, which is
more than a small training takes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8
_PARTS = ("mean", "square", "step")


class AdamW:
    """Moves groups of parameters; a group may have its own `lr` and `weight_decay`."""

    def __init__(self, groups: Sequence[Mapping[str, Any]], *, learning_rate: float) -> None:
        self._groups = [
            (
                [_Moved(parameter) for parameter in group["params"] if parameter.requires_grad],
                group.get("lr", learning_rate),
                group.get("weight_decay", 0.0),
            )
            for group in groups
        ]

    def step(self, pace: float) -> None:
        """Follow the gradients, each group at `pace` times its learning rate."""
        for moved, learning_rate, weight_decay in self._groups:
            active = [(one, one.parameter.grad) for one in moved if one.parameter.grad is not None]
            if active:
                steps = [one.step for one, _ in active]
                torch.ops.aten._foreach_add_(steps, 1)
                torch.ops.aten._fused_adamw_(
                    [one.parameter.detach() for one, _ in active],
                    [grad for _, grad in active],
                    [one.mean for one, _ in active],
                    [one.square for one, _ in active],
                    [],
                    steps,
                    lr=pace * learning_rate,
                    beta1=BETAS[0],
                    beta2=BETAS[1],
                    weight_decay=weight_decay,
                    eps=EPSILON,
                    amsgrad=False,
                    maximize=False,
                )

    @property
    def param_groups(self) -> list[dict[str, list[Tensor]]]:
        """The parameters as torch's optimizers list them, for the scaler of float16 gradients."""
        return [{"params": [one.parameter for one in self._all()]}]

    def state(self) -> dict[str, Tensor]:
        """Everything that it remembers, by number and part of the parameter."""
        return {f"{number}.{part}": getattr(one, part) for number, one in enumerate(self._all()) for part in _PARTS}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state()` gave."""
        for number, one in enumerate(self._all()):
            for part in _PARTS:
                getattr(one, part).copy_(state[f"{number}.{part}"])

    def _all(self) -> "list[_Moved]":
        return [one for moved, _, _ in self._groups for one in moved]


class _Moved:
    """A parameter, the running means of its gradient and of its square, and how often it was moved."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.mean = torch.zeros_like(parameter)
        self.square = torch.zeros_like(parameter)
        self.step = torch.zeros((), device=parameter.device)
