"""Weights of four bits: whole numbers from 0 to 15, with a step and a lowest value for every 64 of them.

A directory of such weights looks like any other, except that its configuration names them, so that no other program
takes them for something else. They become plain weights when the model is loaded: small on disk, not in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

if TYPE_CHECKING:
    from torch import Tensor

METHOD = "inhouse-int4"
GROUP = 64
_PARTS = (".int4", ".step", ".low")


def is_packed(config: Mapping[str, Any]) -> bool:
    """Whether a model's configuration says that its weights have four bits."""
    return (config.get("quantization_config") or {}).get("quant_method") == METHOD


def can_pack(weight: Tensor) -> bool:
    return weight.dim() == 2 and weight.is_floating_point() and weight.shape[1] % GROUP == 0


def packed(name: str, weight: Tensor) -> dict[str, Tensor]:
    """A matrix as what is stored of it: two numbers to a byte, and step and lowest value of each group."""
    import torch

    groups = weight.float().reshape(weight.shape[0], -1, GROUP)
    low, high = groups.amin(-1, keepdim=True).half().float(), groups.amax(-1, keepdim=True)
    step = ((high - low).clamp(min=1e-8) / 15).half().float().clamp(min=2**-24)
    numbers = ((groups - low) / step).round().clamp(0, 15).to(torch.uint8).reshape(weight.shape)
    stored = {"int4": numbers[:, ::2] | numbers[:, 1::2] << 4, "step": step.half(), "low": low.half()}
    return {f"{name}.{part}": value.squeeze(-1).contiguous() for part, value in stored.items()}


def unpacked(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """The matrix again, in float32, as far as four bits hold it."""
    import torch

    stored, step, low = (tensors[f"{name}{part}"] for part in _PARTS)
    numbers = torch.stack([stored & 15, stored >> 4], dim=-1).reshape(stored.shape[0], -1, GROUP)
    return (numbers * step.float().unsqueeze(-1) + low.float().unsqueeze(-1)).reshape(stored.shape[0], -1)


def plain_weights(directory: Path, dtype: Any) -> Iterator[tuple[str, Tensor]]:
    """Every weight of a packed model by its name, one at a time."""
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for key in list(opened.keys()):
                name, is_matrix, _ = key.partition(".int4")
                if is_matrix:
                    parts = {f"{name}{part}": opened.get_tensor(f"{name}{part}") for part in _PARTS}
                    yield name, unpacked(parts, name).to(dtype)
                elif not key.endswith(_PARTS):
                    yield key, opened.get_tensor(key).to(dtype)
