"""From the directory of a model version back to the network that was trained."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from inhouse.core.errors import Invalid
from inhouse.training.networks.encoder_classifier import EncoderClassifier
from inhouse.training.networks.network import Network
from inhouse.training.networks.text_classifier import MODEL_TYPE as TEXT_CLASSIFIER
from inhouse.training.networks.text_classifier import TextClassifier
from inhouse.training.networks.token_tagger import MODEL_TYPE as CHARACTER_TAGGER
from inhouse.training.networks.token_tagger import CharacterTagger

WEIGHTS, CONFIG, TOKENIZER, MANIFEST = "model.safetensors", "config.json", "tokenizer.json", "manifest.json"

_NOT_SETTINGS = ("id2label", "label2id", "num_labels", "transformers_version", "architectures", "dtype")

Tensors = Mapping[str, Tensor]
Config = Mapping[str, Any]
Restore = Callable[[Config, Config, Tensors], Network]
"""Makes a network of config.json, the manifest and the weights."""


class NotReopenable(Invalid):
    """The files of a version do not say which network they are of."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A network as it was trained, in float32, with what it reads texts with."""

    network: Network
    tokenizer: Tokenizer
    manifest: dict[str, Any]


def open_network(directory: Path) -> Opened:
    """Rebuild the network of a `classify`, `tag`, `embed` or `rerank` version from its files."""
    manifest = json.loads((directory / MANIFEST).read_bytes())
    missing = sorted(name for name in (WEIGHTS, CONFIG, TOKENIZER) if not (directory / name).is_file())
    if missing:
        raise NotReopenable(f"A {manifest.get('kind')!r} version without {missing[0]} has no network to open.")
    config = json.loads((directory / CONFIG).read_bytes())
    tensors = {name: tensor.float() for name, tensor in load_file(directory / WEIGHTS).items()}
    restore = _OWN.get(config.get("model_type", ""))
    if restore is None and "head.weight" in tensors:
        restore = _ON_ENCODERS.get(manifest["kind"])
    if restore is None and manifest["kind"] in _HEADS:
        restore = _headed
    if restore is None:
        raise NotReopenable(
            f"There is no network for a {manifest['kind']!r} version of the type {config.get('model_type')!r}."
        )
    network = restore(config, manifest, tensors)
    network.eval()
    return Opened(network, open_tokenizer(directory), manifest)


def open_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a version, set to cut texts at its limit and to fill up the shorter ones of a batch."""
    manifest = json.loads((directory / MANIFEST).read_bytes())
    tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    tokenizer.enable_truncation(manifest.get("max_length", 512))
    if tokenizer.padding is None:
        pads = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
        tokenizer.enable_padding(pad_id=next((pad for pad in pads if pad is not None), 0))
    return tokenizer


def _text_classifier(config: Config, manifest: Config, tensors: Tensors) -> Network:
    network = TextClassifier(
        len(manifest["labels"]),
        longest=config["longest"],
        buckets=config["buckets"],
        dimensions=config["dimensions"],
        dropout=0.0,
    )
    network.load_state_dict(dict(tensors))
    return network


def _encoder_classifier(config: Config, manifest: Config, tensors: Tensors) -> Network:
    encoder = _encoder(config, tensors)
    network = EncoderClassifier(encoder, len(manifest["labels"]), dropout=0.0)
    network.head.load_state_dict(_part(tensors, "head"))
    return network


class Headed(Network):
    """An encoder with the head that transformers gives it: what an imported directory holds."""

    def __init__(self, model: PreTrainedModel, inputs: Sequence[str], *, per_token: bool) -> None:
        super().__init__()
        self.model = model
        self.inputs = tuple(inputs)  # pyright: ignore[reportAttributeAccessIssue]  # of a class elsewhere
        self.per_token = per_token  # pyright: ignore[reportAttributeAccessIssue]  # of a class elsewhere

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.model(**dict(zip(self.inputs, tensors, strict=True))).logits

    def config(self) -> dict[str, Any]:
        return {**self.model.config.to_dict(), "architectures": [type(self.model).__name__]}

    def tensors(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()


def _headed(config: Config, manifest: Config, tensors: Tensors) -> Network:
    settings = manifest.get("settings", {})
    outputs = settings.get("tags") or manifest["labels"] or [""]
    known = {name: value for name, value in config.items() if name not in _NOT_SETTINGS}
    model_type = known.pop("model_type")
    shape = AutoConfig.for_model(model_type, **known, num_labels=len(outputs))
    model = _HEADS[manifest["kind"]].from_config(shape, dtype=torch.float32)
    model.load_state_dict(dict(tensors))
    return Headed(model, settings.get("inputs", Network.inputs), per_token=manifest["kind"] == "tag")


def _encoder(config: Config, tensors: Tensors) -> Any:
    """The encoder of a Hugging Face config, with its tensors out of those of the whole network."""
    known = {
        name: value for name, value in config.items() if name not in ("id2label", "label2id", "transformers_version")
    }
    model_type = known.pop("model_type")
    encoder = AutoModel.from_config(AutoConfig.for_model(model_type, **known), dtype=torch.float32)
    encoder.load_state_dict(_part(tensors, encoder.base_model_prefix))
    return encoder


def _part(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _character_tagger(config: Config, manifest: Config, tensors: Tensors) -> Network:
    network = CharacterTagger(
        len(manifest["settings"]["tags"]),
        config["characters"],
        dimensions=config["dimensions"],
        buckets=config["buckets"],
    )
    network.load_state_dict(dict(tensors))
    return network


_OWN: dict[str, Restore] = {TEXT_CLASSIFIER: _text_classifier, CHARACTER_TAGGER: _character_tagger}
_HEADS: dict[str, Any] = {
    "classify": AutoModelForSequenceClassification,
    "rerank": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
}
_ON_ENCODERS: dict[str, Restore] = {"classify": _encoder_classifier}
