"""From the directory of a model version back to the network that was trained."""

import json
from collections.abc import Callable, Mapping
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
    PreTrainedTokenizerFast,
)

from inhouse.core.errors import Invalid
from inhouse.models.language.pooling import read_pooling
from inhouse.training.networks.encoder_classifier import SETTINGS, EncoderClassifier
from inhouse.training.networks.network import Network
from inhouse.training.networks.pair_scorer import MODEL_TYPE as PAIR_SCORER
from inhouse.training.networks.pair_scorer import CharacterPairScorer, EncoderPairScorer, SegmentedPairScorer
from inhouse.training.networks.pretrained import Pretrained
from inhouse.training.networks.text_classifier import MODEL_TYPE as TEXT_CLASSIFIER
from inhouse.training.networks.text_classifier import TextClassifier
from inhouse.training.networks.text_encoder import MODEL_TYPE as TEXT_ENCODER
from inhouse.training.networks.text_encoder import PooledEncoder, TextEncoder
from inhouse.training.networks.token_tagger import MODEL_TYPE as CHARACTER_TAGGER
from inhouse.training.networks.token_tagger import CharacterTagger, EncoderTagger

WEIGHTS, CONFIG, TOKENIZER, MANIFEST = "model.safetensors", "config.json", "tokenizer.json", "manifest.json"
_NOT_SETTINGS = ("id2label", "label2id", "num_labels", "transformers_version", "architectures", "dtype", SETTINGS)

Tensors = Mapping[str, Tensor]


class NotReopenable(Invalid):
    """The files of a version do not say which network they are of."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A network as it was trained, in float32, with what it reads texts with."""

    network: Network
    tokenizer: Tokenizer
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Files:
    """What a version's directory says of its network."""

    directory: Path
    manifest: dict[str, Any]
    config: dict[str, Any]
    tensors: Tensors

    @property
    def settings(self) -> dict[str, Any]:
        return self.manifest.get("settings", {})


def open_network(directory: Path) -> Opened:
    """Rebuild the network of a `classify`, `tag`, `embed` or `rerank` version from its files."""
    manifest = json.loads((directory / MANIFEST).read_bytes())
    missing = [name for name in (WEIGHTS, CONFIG, TOKENIZER) if not (directory / name).is_file()]
    if missing:
        raise NotReopenable(f"A {manifest['kind']!r} version without {missing[0]} has no network to open.")
    tensors = {name: tensor.float() for name, tensor in load_file(directory / WEIGHTS).items()}
    files = _Files(directory, manifest, json.loads((directory / CONFIG).read_bytes()), tensors)
    restore = _OWN.get(files.config.get("model_type", "")) or _ON_ENCODERS.get(manifest["kind"])
    if restore is None:
        raise NotReopenable(f"There is no network for a version of the kind {manifest['kind']!r}.")
    network = restore(files)
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


def _text_classifier(files: _Files) -> Network:
    return _filled(
        TextClassifier(len(files.manifest["labels"]), **_sizes(files, "longest", "buckets", "dimensions")), files
    )


def _text_encoder(files: _Files) -> Network:
    return _filled(TextEncoder(**_sizes(files, "longest", "buckets", "dimensions")), files)


def _character_tagger(files: _Files) -> Network:
    sizes = _sizes(files, "characters", "dimensions", "buckets")
    return _filled(CharacterTagger(len(files.settings["tags"]), **sizes), files)


def _pair_scorer(files: _Files) -> Network:
    return _filled(CharacterPairScorer(**_sizes(files, "buckets", "vectors", "dimensions")), files)


def _classifier(files: _Files) -> Network:
    """Our head on the mean of an encoder, or that of transformers, as an imported directory has it."""
    if "head.weight" not in files.tensors:
        return Pretrained(
            _headed(files, AutoModelForSequenceClassification, len(files.manifest["labels"])), _reader(files)
        )
    encoder = _encoder(files)
    encoder.load_state_dict(_part(files.tensors, encoder.base_model_prefix))
    asked = files.config.get(SETTINGS, {})
    network = EncoderClassifier(encoder, len(files.manifest["labels"]), dropout=0.0, **asked)
    network.head.load_state_dict(_part(files.tensors, "head"))
    return network


def _embedder(files: _Files) -> Network:
    encoder = _encoder(files)
    encoder.load_state_dict(dict(files.tensors))
    longest = files.manifest["max_length"]
    return PooledEncoder(encoder, read_pooling(files.directory), directory=files.directory, max_length=longest)


def _tagger(files: _Files) -> Network:
    tags = files.settings["tags"]
    return EncoderTagger(_headed(files, AutoModelForTokenClassification, len(tags)), _reader(files), tags)


def _reranker(files: _Files) -> Network:
    has_segments = "token_type_ids" in files.settings.get("inputs", ())
    kind = SegmentedPairScorer if has_segments else EncoderPairScorer
    return kind(_headed(files, AutoModelForSequenceClassification, 1), _reader(files))


def _sizes(files: _Files, *names: str) -> dict[str, Any]:
    return {name: files.config[name] for name in names} | {"dropout": 0.0}


def _filled(network: Network, files: _Files) -> Network:
    network.load_state_dict(dict(files.tensors))
    return network


def _encoder(files: _Files) -> PreTrainedModel:
    return AutoModel.from_config(_shape(files), dtype=torch.float32)


def _headed(files: _Files, kind: Any, outputs: int) -> PreTrainedModel:
    model = kind.from_config(_shape(files, num_labels=outputs), dtype=torch.float32)
    model.load_state_dict(dict(files.tensors))
    return model


def _shape(files: _Files, **more: Any) -> Any:
    known = {name: value for name, value in files.config.items() if name not in _NOT_SETTINGS}
    return AutoConfig.for_model(known.pop("model_type"), **known, **more)


def _reader(files: _Files) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_file=str(files.directory / TOKENIZER))


def _part(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


_OWN: dict[str, Callable[[_Files], Network]] = {
    TEXT_CLASSIFIER: _text_classifier,
    TEXT_ENCODER: _text_encoder,
    CHARACTER_TAGGER: _character_tagger,
    PAIR_SCORER: _pair_scorer,
}
_ON_ENCODERS: dict[str, Callable[[_Files], Network]] = {
    "classify": _classifier,
    "embed": _embedder,
    "tag": _tagger,
    "rerank": _reranker,
}
