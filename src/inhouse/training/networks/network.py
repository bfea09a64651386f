"""What every network over tokens has in common: token numbers in, one tensor out, and a description of itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from inhouse.training.task import Plan

BATCH = 128

Texts = Sequence[str] | Sequence[tuple[str, str]]
"""Texts, or pairs of them that are read as one."""

_PARTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class Network(nn.Module, ABC):
    """Maps the tensors named in `inputs`, each [batch, length], to the one named `output`, whose first axis is the
    batch and, with `per_token`, whose second is the length.
    """

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    output: ClassVar[str] = "logits"
    per_token: ClassVar[bool] = False

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `config.json` says of it, as Hugging Face does."""

    def parameter_groups(self, plan: Plan) -> list[dict[str, Any]]:
        """Matrices decay, biases don't."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": plan.weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]

    def tensors(self) -> Mapping[str, Tensor]:
        """What `model.safetensors` holds."""
        return self.state_dict()

    def write_more(self, directory: Path) -> None:
        """Write what else belongs into the artifact's directory, such as the files of a layout that others read."""


def encode(tokenizer: Tokenizer, texts: Texts, inputs: Sequence[str] = Network.inputs) -> tuple[Tensor, ...]:
    """Return the named tensors of the texts, padded to the longest."""
    encodings = tokenizer.encode_batch(list(texts))
    return tuple(torch.tensor([getattr(encoding, _PARTS[name]) for encoding in encodings]) for name in inputs)


@torch.inference_mode()
def outputs_of(network: Network, tokenizer: Tokenizer, texts: Texts) -> Tensor:
    """Return the network's output for each text, [texts, …], in float32. Not for outputs per token."""
    network.eval()
    starts = range(0, len(texts), BATCH)
    parts = [network(*encode(tokenizer, texts[i : i + BATCH], network.inputs)) for i in starts]
    return torch.cat(parts).float()
