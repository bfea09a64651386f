"""A causal language model in training: how unlikely it finds each token that is to be learned.

Shapes: B rows, T places, N tokens to learn, D dimensions, V words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from inhouse.training.networks.bases import BaseNotUsable
from inhouse.training.networks.packing import IGNORED, block_mask
from inhouse.training.networks.quiet import quiet
from inhouse.training.task import Plan

MOST_LOGITS = 2**27
"""So many logits are in memory at a time: half a gigabyte of them."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What the model made of the tokens to learn: the negative log-likelihood of each, and whose it is."""

    surprise_N: Tensor
    sequence_N: Tensor
    right_N: Tensor

    def sums(self, sequences: int) -> Tensor:
        """The log-likelihood of each sequence: of all its learned tokens together."""
        return self.surprise_N.new_zeros(sequences).index_add(0, self.sequence_N, -self.surprise_N)


class Causal(nn.Module):
    """Wraps a model of transformers. Logits are made only where something is learned."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self._body: Callable[..., Any] | None = None
        self._head: nn.Module | None = None
        body, head = getattr(model, model.base_model_prefix, None), model.get_output_embeddings()
        if body is not None and head is not None and _is_all(model, body, head):
            self._body, self.__dict__["_head"] = body.forward, head

    @property
    def device(self) -> torch.device:
        return self.model.device

    def surprise(self, batch: Mapping[str, Tensor]) -> Learned:
        """How unlikely each learned token is."""
        learned_BT = batch["targets"] != IGNORED
        target_N = batch["targets"][learned_BT]
        surprise_N, right_N = self._read(batch, learned_BT, target_N)
        return Learned(surprise_N, batch["sequence"][learned_BT], right_N)

    def logits(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits [N, V] where something is learned."""
        learned_BT = batch["targets"] != IGNORED
        if self._body is None or self._head is None:
            return self._whole(batch)[learned_BT]
        return self._head(self._hidden(batch)[learned_BT])

    def parameter_groups(self, plan: Plan) -> list[dict[str, Any]]:
        """Matrices decay, biases don't, LoRA's neither."""
        parameters = [(name, one) for name, one in self.named_parameters() if one.requires_grad]
        decays = [one for name, one in parameters if one.dim() >= 2 and ".lora_" not in name]
        others = [one for name, one in parameters if one.dim() < 2 or ".lora_" in name]
        return [{"params": decays, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]

    def _read(self, batch: Mapping[str, Tensor], learned_BT: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
        head = self._head
        if self._body is None or head is None:
            return _surprise(nn.Identity(), self._whole(batch)[learned_BT], target_N)
        hidden_ND = self._hidden(batch)[learned_BT]
        size = max(1, MOST_LOGITS // self.model.config.get_text_config().vocab_size)
        if len(target_N) <= size:
            return _surprise(head, hidden_ND, target_N)
        pieces = zip(hidden_ND.split(size), target_N.split(size), strict=True)
        parts = [checkpoint(_surprise, head, hidden, target, use_reentrant=False) for hidden, target in pieces]
        return torch.cat([surprise for surprise, _ in parts]), torch.cat([right for _, right in parts])

    def _hidden(self, batch: Mapping[str, Tensor]) -> Tensor:
        assert self._body is not None
        return self._body(**self._seen(batch)).last_hidden_state

    def _whole(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.model(**self._seen(batch)).logits

    def _seen(self, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """Rows are filled up on the right, where causal attention never looks: they need no mask, packed ones do.

        A cache would make the library forget that positions start over.
        """
        seen: dict[str, Any] = {"input_ids": batch["input_ids"], "use_cache": False}
        if (positions := batch.get("position_ids")) is None:
            return seen
        mask = block_mask(batch["sequence"], self.model.dtype)
        return seen | {"position_ids": positions, "attention_mask": mask}


def open_causal(directory: Path, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load a causal language model from safetensors and JSON alone; nothing is downloaded, nothing executed."""
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(directory, **safe)
        if config.is_encoder_decoder or "quantization_config" in config.to_dict():
            raise BaseNotUsable(f"{str(directory)!r} holds no causal language model in plain weights.")
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, use_safetensors=True, **safe)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BaseNotUsable(f"The language model in {str(directory)!r} cannot be loaded: {error}") from error
    model.eval()
    return model


def is_packable(model: PreTrainedModel, capacity: int) -> bool:
    """Whether an attention mask is all that keeps sequences apart in this model, up to so many places."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) or capacity
    slides = "sliding_attention" in kinds or config.model_type == "mistral"
    return kinds <= {"full_attention", "sliding_attention"} and not (
        getattr(model, "_is_stateful", False) or (slides and window < capacity)
    )


def longest_for(model: PreTrainedModel, asked: int) -> int:
    """How many tokens the model reads, at most as many as asked."""
    return min(asked, getattr(model.config.get_text_config(), "max_position_embeddings", None) or asked)


@torch.no_grad()
def _is_all(model: PreTrainedModel, body: Any, head: nn.Module) -> bool:
    """Whether the model is nothing but its body and its head: some scale or bend what comes out."""
    ids = torch.arange(4, device=model.device).unsqueeze(0)
    whole = model(input_ids=ids, use_cache=False).logits
    return torch.equal(whole, head(body(input_ids=ids, use_cache=False).last_hidden_state))


def _surprise(head: nn.Module, hidden_ND: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
    logits_NV = head(hidden_ND).float()
    with torch.no_grad():
        right_N = logits_NV.argmax(-1) == target_N
    return F.cross_entropy(logits_NV, target_N, reduction="none"), right_N
