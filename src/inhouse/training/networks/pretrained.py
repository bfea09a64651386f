"""A pretrained Hugging Face encoder with a new head of the kind that transformers itself makes and reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from inhouse.training.networks.bases import BaseNotUsable, resolve_base
from inhouse.training.networks.encoder_classifier import HEAD_SPEED
from inhouse.training.networks.network import Network
from inhouse.training.task import Plan


class Pretrained(Network):
    """A network of transformers as it is. Its artifact is a directory that transformers opens as such a network."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.model = model
        self._tokenizer = tokenizer

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.model(**dict(zip(self.inputs, tensors, strict=True))).logits

    def config(self) -> dict[str, Any]:
        return {**self.model.config.to_dict(), "architectures": [type(self.model).__name__]}

    def tensors(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()

    def write_more(self, directory: Path) -> None:
        """How transformers is to make the tokenizer: what pads, and whether the network knows segments."""
        self._tokenizer.save_pretrained(directory)

    def parameter_groups(self, plan: Plan) -> list[dict[str, Any]]:
        known = {id(parameter) for parameter in self.model.base_model.parameters()}
        encoder = [parameter for parameter in self.parameters() if id(parameter) in known]
        head = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [
            {"params": [p for p in encoder if p.dim() >= 2], "weight_decay": plan.weight_decay},
            {"params": [p for p in encoder if p.dim() < 2], "weight_decay": 0.0},
            {"params": head, "lr": plan.learning_rate * HEAD_SPEED},
        ]


def open_with_head(kind: Any, base: str, *, labels: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load an encoder with a head for so many labels, from safetensors and JSON alone; nothing is executed.

    The head is new, unless the base has one of the same kind and size.
    """
    directory = resolve_base(base)
    safe = {"local_files_only": True, "trust_remote_code": False}
    said = logging.get_verbosity()
    logging.set_verbosity_error()  # that the head is new is no news
    try:
        model = kind.from_pretrained(
            directory,
            num_labels=labels,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            use_safetensors=True,
            **safe,
        )
        tokenizer = AutoTokenizer.from_pretrained(directory, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise BaseNotUsable(f"The encoder in {str(directory)!r} cannot be loaded: {error}") from error
    finally:
        logging.set_verbosity(said)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BaseNotUsable(f"{str(directory)!r} has no tokenizer.json.", hint="Save its fast tokenizer there.")
    return model, tokenizer


def longest_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, asked: int) -> int:
    """How many tokens the encoder reads, at most as many as asked."""
    return min(asked, getattr(model.config, "max_position_embeddings", asked), tokenizer.model_max_length)
