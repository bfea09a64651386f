"""LoRA: small matrices beside the frozen ones of a base, made, checked and written as peft has them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from inhouse.core.errors import Invalid
from inhouse.models.language.weights import recorded_base, weights_digest
from inhouse.training.networks.quiet import quiet

ADAPTER = "default"


class AdapterNotUsable(Invalid):
    """The adapter cannot be trained further on this base."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Which layers get small matrices, and how small. `target_modules` is `all-linear` or names with commas."""

    r: int
    alpha: int
    target_modules: str = "all-linear"
    dropout: float = 0.0
    dora: bool = False


def attach(model: PreTrainedModel, shape: Shape) -> PeftModel:
    """Freeze a model and give it new small matrices, which at first change nothing."""
    targets = shape.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=shape.r,
        lora_alpha=shape.alpha,
        target_modules=targets if targets == "all-linear" else [name.strip() for name in targets.split(",")],
        lora_dropout=shape.dropout,
        use_dora=shape.dora,
    )
    try:
        with quiet():
            return quickened(get_peft_model(model, config))
    except ValueError as error:
        raise AdapterNotUsable(f"LoRA cannot be put on this base: {error}", hint="See target_modules.") from error


def go_on(model: PreTrainedModel, adapter: Path, base: Path) -> PeftModel:
    """Freeze a model and give it the small matrices of an adapter that was made for it, to be trained further."""
    check_adapter(adapter, base)
    try:
        with quiet():
            return quickened(PeftModel.from_pretrained(model, str(adapter), is_trainable=True))
    except (RuntimeError, ValueError, OSError) as error:
        raise AdapterNotUsable(
            f"The adapter in {str(adapter)!r} does not fit the base in {str(base)!r}: {str(error).splitlines()[0]}"
        ) from error


def check_adapter(adapter: Path, base: Path) -> None:
    """Raise `AdapterNotUsable` unless the directory holds a LoRA adapter for exactly this base."""
    try:
        config = json.loads((adapter / "adapter_config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise AdapterNotUsable(f"{str(adapter)!r} holds no adapter_config.json: {error}.") from error
    if not (adapter / "adapter_model.safetensors").is_file():
        raise AdapterNotUsable(f"{str(adapter)!r} holds no adapter_model.safetensors.", hint="Pickles are not opened.")
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise AdapterNotUsable(f"{str(adapter)!r} holds a {config['peft_type']} adapter, not LoRA.")
    if (made_for := recorded_base(adapter)) and made_for.digest != weights_digest(base):
        raise AdapterNotUsable(
            f"The adapter in {str(adapter)!r} was made for {made_for.name!r}; the weights in {str(base)!r} are others.",
            hint="Give the base that it was made for.",
        )


def quickened(peft: PeftModel) -> PeftModel:
    """Let plain LoRA layers compute in one go: peft casts to float32 and back at each of them."""
    for module in peft.modules():
        if isinstance(module, LoraLinear) and _is_plain(module):
            module.forward = partial(_forward, module)  # pyright: ignore[reportAttributeAccessIssue]
    return peft


def _is_plain(layer: LoraLinear) -> bool:
    is_dropping = not isinstance(layer.lora_dropout[ADAPTER], nn.Identity)
    return type(layer.base_layer) is nn.Linear and not layer.lora_variant and not is_dropping


def _forward(layer: LoraLinear, x: Tensor, *_: Any, **__: Any) -> Tensor:
    base: Any = layer.base_layer
    if layer.disable_adapters or layer.merged:
        return base(x)
    down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    return _Changed.apply(x.to(base.weight.dtype), base.weight, base.bias, down, up, layer.scaling[ADAPTER])


class _Changed(torch.autograd.Function):
    """x @ weight + bias + scale * (x @ down) @ up, in the number type of `weight`, which gets no gradient."""

    @staticmethod
    def forward(  # type: ignore[override]  # torch declares it for any arguments
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        flat, low, high = x.reshape(-1, x.shape[-1]), down.to(x.dtype), up.to(x.dtype)
        inner = flat @ low.t()
        ctx.save_for_backward(flat, weight, low, high, inner)
        ctx.scale, ctx.shape = scale, x.shape
        changed = F.linear(flat, weight, bias).addmm_(inner, high.t(), alpha=scale)
        return changed.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]  # as above
        flat, weight, low, high, inner = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1]).to(flat.dtype)
        grad_inner = (grad @ high) * ctx.scale
        grad_x = (grad @ weight).addmm_(grad_inner, low).view(ctx.shape) if ctx.needs_input_grad[0] else None
        grad_down, grad_up = grad_inner.t() @ flat, (grad.t() @ inner) * ctx.scale
        return grad_x, None, None, grad_down.float(), grad_up.float(), None
