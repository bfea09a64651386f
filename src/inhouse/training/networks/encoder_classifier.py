"""A classifier on top of a pretrained Hugging Face encoder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from inhouse.training.networks.bases import BaseNotUsable, resolve_base
from inhouse.training.networks.vector_classifier import VectorClassifier
from inhouse.training.task import Plan

HEAD_SPEED = 20
"""A new head on a trained encoder learns this much faster than the encoder, which has little left to learn."""

SETTINGS = "inhouse"
"""Where config.json says what of this network transformers does not know."""

SHARPNESS = 20.0
"""Logits of the first prototypes are so many times the cosine to them, which alone says too little of a label."""

Pooling = Literal["mean", "cls"]


class EncoderClassifier(VectorClassifier):
    """Encodes a text, makes one vector of its tokens' vectors, and classifies that.

    Shapes: B texts, T tokens, D dimensions, C labels.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        labels: int,
        *,
        dropout: float,
        pooling: Pooling = "mean",
        normalise: bool = False,
        freeze_embeddings: bool = False,
        head_learning_rate: float | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling: Pooling = pooling
        self.normalise = normalise
        self._head_learning_rate = head_learning_rate
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, labels)
        if freeze_embeddings:
            _freeze(getattr(encoder, "embeddings", encoder.get_input_embeddings()))
        _freeze(getattr(encoder, "pooler", None))  # nothing reads it

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden_BTD = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            vectors_BD = hidden_BTD[:, 0]
        else:
            mask_BT1 = attention_mask.unsqueeze(-1).to(hidden_BTD.dtype)
            vectors_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)
        return F.normalize(vectors_BD, dim=-1) if self.normalise else vectors_BD

    def classify(self, vectors: Tensor) -> Tensor:
        return self.head(self.dropout(vectors))

    @torch.no_grad()
    def start_from(self, vectors: Tensor, members: Tensor) -> None:
        """Let the head begin as the mean vector of each label's texts, seen from the mean of all labels."""
        prototypes = F.normalize(members.T @ vectors, dim=-1)
        self.head.weight.copy_(F.normalize(prototypes - prototypes.mean(0), dim=-1) * SHARPNESS)
        self.head.bias.zero_()

    def config(self) -> dict[str, Any]:
        return {**self.encoder.config.to_dict(), SETTINGS: {"pooling": self.pooling, "normalise": self.normalise}}

    def tensors(self) -> Mapping[str, Tensor]:
        """Name the encoder's tensors as Hugging Face does: the artifact can be the `base` of another run."""
        prefix = self.encoder.base_model_prefix
        named = {f"{prefix}.{name}": value for name, value in self.encoder.state_dict().items()}
        return named | {f"head.{name}": value for name, value in self.head.state_dict().items()}

    def parameter_groups(self, plan: Plan) -> list[dict[str, Any]]:
        encoder = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        return [
            {"params": [p for p in encoder if p.dim() >= 2], "weight_decay": plan.weight_decay},
            {"params": [p for p in encoder if p.dim() < 2], "weight_decay": 0.0},
            {"params": list(self.head.parameters()), "lr": self._head_learning_rate or plan.learning_rate * HEAD_SPEED},
        ]


def open_base(base: str | Path, *, max_length: int) -> tuple[PreTrainedModel, Tokenizer]:
    """Load encoder and tokenizer from safetensors and JSON alone; nothing is executed."""
    directory = resolve_base(base)
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        encoder, loading = AutoModel.from_pretrained(
            directory, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **safe
        )
        tokenizer = AutoTokenizer.from_pretrained(directory, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise BaseNotUsable(f"The encoder in {str(directory)!r} cannot be loaded: {error}") from error
    if missing := [name for name in loading["missing_keys"] if not name.startswith("pooler.")]:
        raise BaseNotUsable(
            f"The weights in {str(directory)!r} are not those of its config.json: {missing[0]!r} is missing.",
            hint="Copy config.json and the weights from the same model.",
        )
    if not tokenizer.is_fast:
        raise BaseNotUsable(f"{str(directory)!r} has no tokenizer.json.", hint="Save its fast tokenizer there.")
    backend: Tokenizer = tokenizer.backend_tokenizer
    backend.enable_truncation(min(max_length, getattr(encoder.config, "max_position_embeddings", max_length)))
    backend.enable_padding(pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]")
    return encoder, backend


def pooling_of(base: str | Path) -> Pooling:
    """How the texts of a base were made into one vector, as sentence-transformers or this platform notes it."""
    directory = resolve_base(base)
    own = json.loads((directory / "config.json").read_bytes()).get(SETTINGS, {})
    noted = directory / "1_Pooling" / "config.json"
    asked = json.loads(noted.read_bytes()) if noted.is_file() else {}
    return "cls" if "cls" in (own.get("pooling"), asked.get("pooling_mode_cls_token") and "cls") else "mean"


def _freeze(module: nn.Module | None) -> None:
    if module is not None:
        module.requires_grad_(False)
