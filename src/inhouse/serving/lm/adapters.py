"""LoRA adapters: small changes to a model's linear layers, each row of a batch with its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from inhouse.core.errors import Invalid
from inhouse.models.language.vocabulary import read_json
from inhouse.serving.lm.network import now

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."


class UnsupportedAdapter(Invalid):
    """The directory holds no LoRA adapter that fits this model."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an adapter adds to one layer: up(down(x)), `up` already scaled."""

    down: "Tensor"
    up: "Tensor"


class Adapters:
    """The adapters that one network has at hand."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._modules = dict(model.named_modules())
        self._changes: dict[str, dict[str, Change]] = {}  # layer -> adapter -> change
        self._hooks: dict[str, Any] = {}

    def add(self, name: str, directory: Path) -> None:
        """Read an adapter, or a new version of one. It takes effect from the next step on."""
        changes = self._read(directory)
        for layer, known in self._changes.items():
            if layer not in changes:
                known.pop(name, None)
        for layer, change in changes.items():
            self._changes.setdefault(layer, {})[name] = change
            if layer not in self._hooks:
                self._hooks[layer] = self._modules[layer].register_forward_hook(_Hook(self._changes[layer]))

    def remove(self, name: str) -> None:
        for known in self._changes.values():
            known.pop(name, None)
        for layer in [layer for layer, known in self._changes.items() if not known]:
            del self._changes[layer]
            self._hooks.pop(layer).remove()

    def _read(self, directory: Path) -> dict[str, Change]:
        config = read_json(directory / CONFIG)
        _check(config, directory.name)
        try:
            tensors = load_file(directory / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise UnsupportedAdapter(f"{WEIGHTS} of {directory.name!r} cannot be read: {error}") from error
        downs = {name.removesuffix(".lora_A.weight"): tensor for name, tensor in tensors.items() if ".lora_A." in name}
        if not downs or len(tensors) != 2 * len(downs):
            others = [name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
            raise UnsupportedAdapter(f"{directory.name!r} holds more than LoRA on linear layers: {others[:3]}.")
        return {
            layer.removeprefix(_PREFIX): self._change(layer, down, tensors.get(f"{layer}.lora_B.weight"), config)
            for layer, down in downs.items()
        }

    def _change(self, name: str, down: "Tensor", up: "Tensor | None", config: Mapping[str, Any]) -> Change:
        layer = name.removeprefix(_PREFIX)
        weight = getattr(self._modules.get(layer), "weight", None)
        if weight is None or up is None:
            raise UnsupportedAdapter(f"The adapter changes {layer!r}, which this model does not have.")
        if {down.shape[1], up.shape[0]} != set(weight.shape) or up.shape[1] != down.shape[0]:
            raise UnsupportedAdapter(
                f"The adapter was made for another model: {layer!r} is {tuple(weight.shape)} here, "
                f"{(up.shape[0], down.shape[1])} there."
            )
        scale = _scale(layer, down.shape[0], config)
        return Change(down.to(weight), (up * scale).to(weight))


class _Hook:
    """Adds to a layer's output what the adapters of the present rows say."""

    def __init__(self, changes: Mapping[str, Change]) -> None:
        self._changes = changes

    def __call__(self, module: torch.nn.Module, inputs: "tuple[Tensor, ...]", output: "Tensor") -> "Tensor":
        step = now.step
        if step is None or not step.adapters:
            return output
        for name, places in step.adapters:
            change = self._changes.get(name)
            if change is not None:
                # One flat sequence of tokens: (1, tokens, size), or (tokens, size) inside some layers.
                flat, read = output.view(-1, output.shape[-1]), inputs[0].reshape(-1, inputs[0].shape[-1])
                flat[places] += (read[places] @ change.down.T) @ change.up.T
        return output


def _check(config: Mapping[str, Any], name: str) -> None:
    if str(config.get("peft_type", "")).upper() != "LORA":
        raise UnsupportedAdapter(f"{name!r} is no LoRA adapter.", hint=f"Its {CONFIG} must say peft_type LORA.")
    for member in ("use_dora", "modules_to_save", "lora_bias", "layer_replication", "trainable_token_indices"):
        if config.get(member):
            raise UnsupportedAdapter(f"{name!r} uses {member}, which cannot be applied row by row.")
    if config.get("bias", "none") != "none":
        raise UnsupportedAdapter(f"{name!r} changes biases, which cannot be applied row by row.")


def _scale(layer: str, rank: int, config: Mapping[str, Any]) -> float:
    patterns: Mapping[str, Any] = config.get("alpha_pattern") or {}
    named = next((alpha for key, alpha in patterns.items() if layer == key or layer.endswith(f".{key}")), None)
    alpha = float(named if named is not None else config.get("lora_alpha", rank))
    return alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
