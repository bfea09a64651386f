"""Language models with weights of four bits, and what that costs, measured."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from inhouse.core.errors import Invalid
from inhouse.data.examples import Form
from inhouse.models.language.int4 import METHOD, can_pack, packed, unpacked
from inhouse.models.language.template import template_source
from inhouse.training.conversations import user
from inhouse.training.dataset import Row
from inhouse.training.networks.causal import Causal, open_causal
from inhouse.training.networks.packing import laid_out
from inhouse.training.networks.supervised import lessons
from inhouse.training.networks.tokens import Reader, Tokens
from inhouse.training.networks.writing import write

LONGEST, OWN_TEXTS, OWN_TOKENS = 1024, 16, 64
_OPENINGS = ("Hello!", "What can you do?", "你好！", "Tell me something.")
_KEPT = ("embed_tokens", "lm_head", "wte", "wpe", "embed_in", "embed_out")
"""Embeddings and the output layer stay as they are: they feel rounding most."""


class NotQuantizable(Invalid):
    """The model cannot be written with fewer bits."""


def quantize(
    directory: Path, target: Path, *, bits: int = 4, rows: Sequence[Row] = (), form: Form = Form.CHAT
) -> dict[str, Any]:
    """Write a `chat` version with weights of four bits to `target`, and return what it costs.

    Loss and perplexity are those of the rows; without rows those of texts that the model writes itself, whose loss
    rises by exactly how far the two models' answers are apart.
    """
    if bits != 4:
        raise NotQuantizable(f"Weights of {bits} bits are not offered.", hint="Ask for 4.")
    if not (directory / "config.json").is_file():
        raise NotQuantizable("Only a whole model can be quantised.", hint="Train with merge, or merge the adapter.")
    target.mkdir(parents=True, exist_ok=True)
    for file in directory.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name not in ("manifest.json", "config.json"):
            shutil.copyfile(file, target / file.name)
    names = _write_weights(directory, target)
    if not names:
        raise NotQuantizable("No matrix of this model has a width that fits.", hint="Widths must be multiples of 64.")
    config = json.loads((directory / "config.json").read_bytes())
    config["quantization_config"] = {"quant_method": METHOD, "bits": bits}
    (target / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
    return {**_sizes(directory, target), "matrices": len(names), **_losses(directory, names, rows, form)}


def _write_weights(directory: Path, target: Path) -> list[str]:
    """Pack each file's matrices into a file of the same name; return which were packed."""
    names = []
    for file in sorted(directory.glob("*.safetensors")):
        stored = {}
        with safe_open(file, framework="pt") as opened:
            for name in list(opened.keys()):
                weight = opened.get_tensor(name)
                if can_pack(weight) and not any(kept in name for kept in _KEPT):
                    stored |= packed(name, weight)
                    names.append(name)
                else:
                    stored[name] = weight
        save_file(stored, target / file.name, metadata={"format": "pt"})
    return names


def _sizes(directory: Path, target: Path) -> dict[str, int]:
    before, after = (sum(file.stat().st_size for file in one.glob("*.safetensors")) for one in (directory, target))
    return {"size_bytes_before": before, "size_bytes": after}


@torch.inference_mode()
def _losses(directory: Path, names: Sequence[str], rows: Sequence[Row], form: Form) -> dict[str, Any]:
    """The same weights rounded in place: what a loaded variant computes, in float32."""
    model = open_causal(directory)
    reader = Reader(directory, max_length=LONGEST, template="own" if template_source(directory) else "chatml")
    sequences = [lesson.tokens for lesson in lessons(rows, form, reader)] if rows else _own_texts(model, reader)
    before = _loss(model, sequences)
    weights: Mapping[str, torch.Tensor] = dict(model.named_parameters())
    for name in names:
        weights[name].copy_(unpacked(packed(name, weights[name]), name))
    after = _loss(model, sequences)
    return {
        "measured_on": "rows" if rows else "texts of its own",
        "tokens": sum(one.targets for one in sequences),
        "loss_before": before,
        "loss": after,
        "perplexity_before": math.exp(before),
        "perplexity": math.exp(after),
    }


def _own_texts(model: PreTrainedModel, reader: Reader) -> list[Tokens]:
    asked = [[user(_OPENINGS[number % len(_OPENINGS)])] for number in range(OWN_TEXTS)]
    answers = write(model, reader, asked, tokens=OWN_TOKENS, temperature=1.0)
    return [one for talk, text in zip(asked, answers, strict=True) for one in reader.answer("own", talk, text)]


def _loss(model: PreTrainedModel, sequences: Sequence[Tokens]) -> float:
    network = Causal(model)
    total = sum(network.surprise(laid_out([one])).surprise_N.sum().item() for one in sequences)
    return total / max(1, sum(one.targets for one in sequences))
