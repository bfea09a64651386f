"""What every classifying network has in common: tokens in, logits out, and a description of itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from inhouse.training.task import Plan

BATCH = 128


class Network(nn.Module, ABC):
    """Maps `input_ids` and `attention_mask` to logits."""

    @abstractmethod
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor: ...

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `config.json` says of it, as Hugging Face does."""

    def parameter_groups(self, plan: Plan) -> list[dict[str, Any]]:
        """Matrices decay, biases don't."""
        parameters = list(self.parameters())
        return [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": plan.weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]

    def tensors(self) -> Mapping[str, Tensor]:
        """What `model.safetensors` holds."""
        return self.state_dict()


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return `input_ids` and `attention_mask` of the texts, padded to the longest."""
    encodings = tokenizer.encode_batch(list(texts))
    ids = torch.tensor([encoding.ids for encoding in encodings])
    return ids, torch.tensor([encoding.attention_mask for encoding in encodings])


@torch.inference_mode()
def logits_of(network: Network, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Return the logits of each text."""
    network.eval()
    parts = [network(*encode(tokenizer, texts[i : i + BATCH])) for i in range(0, len(texts), BATCH)]
    return torch.cat(parts).float()
