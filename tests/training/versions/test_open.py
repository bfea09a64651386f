"""The networks of every recipe come back from their artifacts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inhouse.models.spans import tags_of
from inhouse.testing.encoders import tiny_encoder, tiny_reranker
from inhouse.training.export import write_artifact
from inhouse.training.networks.encoder_classifier import EncoderClassifier, open_base
from inhouse.training.networks.network import Network, encode
from inhouse.training.networks.open import NotReopenable, open_network
from inhouse.training.networks.pair_scorer import CharacterPairScorer, open_pair_scorer, pair_tokenizer
from inhouse.training.networks.text_classifier import character_tokenizer
from inhouse.training.networks.text_encoder import TextEncoder, open_encoder
from inhouse.training.networks.token_tagger import CharacterTagger, open_tagger
from inhouse.training.variants import ONNX, open_variant

TEXTS = ["how many days", "reset my password", "年假"]
PAIRS = [(text, "leave days") for text in TEXTS]
TAGS = tags_of(["DATE"])


def scratch_encoder(_: Path) -> tuple[str, Network, Any]:
    return "embed", TextEncoder(buckets=64, dimensions=8), character_tokenizer(TEXTS, max_length=32)


def scratch_tagger(_: Path) -> tuple[str, Network, Any]:
    tokenizer = character_tokenizer(TEXTS, max_length=32)
    return "tag", CharacterTagger(len(TAGS), tokenizer.get_vocab_size(), dimensions=8, buckets=64), tokenizer


def scratch_scorer(_: Path) -> tuple[str, Network, Any]:
    return "rerank", CharacterPairScorer(buckets=64, vectors=32, dimensions=8), pair_tokenizer(TEXTS, max_length=32)


def classifier(directory: Path) -> tuple[str, Network, Any]:
    encoder, tokenizer = open_base(tiny_encoder(directory), max_length=32)
    return "classify", EncoderClassifier(encoder, 3, dropout=0.1, pooling="cls"), tokenizer


def encoder(directory: Path) -> tuple[str, Network, Any]:
    return "embed", *open_encoder(str(tiny_encoder(directory, pooling="cls_token")), max_length=32)


def tagger(directory: Path) -> tuple[str, Network, Any]:
    network, tokenizer, longest = open_tagger(str(tiny_encoder(directory)), TAGS, max_length=32)
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding(pad_id=0)
    return "tag", network, tokenizer


def scorer(directory: Path) -> tuple[str, Network, Any]:
    return "rerank", *open_pair_scorer(str(tiny_reranker(directory)), max_length=32)


@pytest.mark.parametrize("make", [scratch_encoder, scratch_tagger, scratch_scorer, classifier, encoder, tagger, scorer])
def test_a_network_comes_back_from_its_artifact(tmp_path: Path, make: Any):
    torch.manual_seed(1)
    kind, network, tokenizer = make(tmp_path / "base")
    texts = PAIRS if kind == "rerank" else TEXTS
    settings = {"inputs": list(network.inputs), "tags": TAGS if kind == "tag" else []}
    labels = {"classify": ["a", "b", "c"], "tag": ["DATE"]}.get(kind, [])
    manifest = {"kind": kind, "labels": labels, "max_length": 32, "settings": settings}
    write_artifact(tmp_path / "artifact", network, tokenizer, manifest, samples=texts)

    opened = open_network(tmp_path / "artifact")

    with torch.inference_mode():
        found = opened.network(*encode(opened.tokenizer, texts, opened.network.inputs)).numpy()
    expected = open_variant(ONNX, tmp_path / "artifact")(texts)
    assert type(opened.network) is type(network)
    assert np.abs(found - expected).max() < 1e-4


def test_a_directory_without_weights_is_not_opened(tmp_path: Path):
    (tmp_path / "manifest.json").write_text('{"kind": "classify"}')

    with pytest.raises(NotReopenable, match=r"model\.safetensors"):
        open_network(tmp_path)
