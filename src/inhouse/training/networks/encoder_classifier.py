"""A classifier on top of a pretrained Hugging Face encoder that lies in a local directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from inhouse.training.networks.base import BaseNotUsable, resolve_base
from inhouse.training.networks.network import Network
from inhouse.training.task import Plan

HEAD_SPEED = 20
"""A new head on a trained encoder learns this much faster than the encoder, which has little left to learn."""


class EncoderClassifier(Network):
    """Encodes a text, averages its token vectors, and classifies the mean."""

    def __init__(self, encoder: PreTrainedModel, labels: int, *, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.head(self.dropout(mean))

    def config(self) -> dict[str, Any]:
        return self.encoder.config.to_dict()

    def tensors(self) -> Mapping[str, Tensor]:
        """Name the encoder's tensors as Hugging Face does: the artifact can be the `base` of another run."""
        prefix = self.encoder.base_model_prefix
        named = {f"{prefix}.{name}": value for name, value in self.encoder.state_dict().items()}
        return named | {f"head.{name}": value for name, value in self.head.state_dict().items()}

    def parameter_groups(self, plan: Plan) -> list[dict[str, Any]]:
        encoder = list(self.encoder.parameters())
        return [
            {"params": [p for p in encoder if p.dim() >= 2], "weight_decay": plan.weight_decay},
            {"params": [p for p in encoder if p.dim() < 2], "weight_decay": 0.0},
            {"params": list(self.head.parameters()), "lr": plan.learning_rate * HEAD_SPEED},
        ]


def open_base(base: str | Path, *, max_length: int) -> tuple[PreTrainedModel, Tokenizer]:
    """Load encoder and tokenizer from safetensors and JSON alone; nothing is executed."""
    directory = resolve_base(base)
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        encoder = AutoModel.from_pretrained(directory, dtype=torch.float32, use_safetensors=True, **safe)
        tokenizer = AutoTokenizer.from_pretrained(directory, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise BaseNotUsable(f"The encoder in {str(directory)!r} cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise BaseNotUsable(f"{str(directory)!r} has no tokenizer.json.", hint="Save its fast tokenizer there.")
    backend: Tokenizer = tokenizer.backend_tokenizer
    backend.enable_truncation(min(max_length, getattr(encoder.config, "max_position_embeddings", max_length)))
    backend.enable_padding(pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]")
    return encoder, backend
