"""The network that a classifier is before it learns: new, or made of a base."""

import json
from collections import Counter
from collections.abc import Sequence
from statistics import median

import torch
from tokenizers import Tokenizer
from torch import nn

from inhouse.training.networks.bases import resolve_base
from inhouse.training.networks.encoded import Encoded, vectors_of
from inhouse.training.networks.encoder_classifier import EncoderClassifier, Pooling, open_base, pooling_of
from inhouse.training.networks.head import learn_head
from inhouse.training.networks.objectives import Objective
from inhouse.training.networks.open import open_network
from inhouse.training.networks.text_classifier import MODEL_TYPE, TextClassifier, character_tokenizer
from inhouse.training.networks.vector_classifier import VectorClassifier
from inhouse.training.ranks import own_device
from inhouse.training.task import Precision

HEAD_DROPOUT = 0.1
HEAD_ROWS = 50
"""Rows of a label from which a new head learns before all else does: more would take longer than they help."""

SHORT = 64
"""Up to so many tokens, plain attention is faster on a processor than the fused kernels, made for long texts."""


def from_scratch(
    texts: Sequence[str], labels: int, *, max_length: int, dropout: float
) -> tuple[VectorClassifier, Tokenizer]:
    """A small network over the characters of these texts."""
    tokenizer = character_tokenizer(texts, max_length=max_length)
    network = TextClassifier(labels, dropout=dropout)
    network.weigh(texts, tokenizer)
    return network, tokenizer


def is_from_scratch(base: str) -> bool:
    """Whether a base is a version that was trained from scratch itself."""
    return json.loads((resolve_base(base) / "config.json").read_bytes()).get("model_type") == MODEL_TYPE


def from_version(
    base: str, labels: Sequence[str], *, max_length: int, dropout: float
) -> tuple[VectorClassifier, Tokenizer]:
    """A version that was trained from scratch, to go on with; other labels get a new head."""
    opened = open_network(resolve_base(base))
    network = opened.network
    assert isinstance(network, TextClassifier)
    network.gram_dropout = network.dropout.p = dropout
    if opened.manifest["labels"] != list(labels):
        network.head = nn.Linear(network.head.in_features, len(labels))
    opened.tokenizer.enable_truncation(max_length)
    return network, opened.tokenizer


def on_encoder(
    base: str,
    labels: int,
    *,
    max_length: int,
    dropout: float | None,
    pooling: Pooling | None,
    freeze_embeddings: bool,
    head_learning_rate: float | None,
) -> tuple[EncoderClassifier, Tokenizer]:
    """An encoder with a new head. Without a dropout of one's own, the encoder keeps that which it was made with."""
    encoder, tokenizer = open_base(base, max_length=max_length)
    if dropout is not None:
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
    network = EncoderClassifier(
        encoder,
        labels,
        dropout=HEAD_DROPOUT if dropout is None else dropout,
        pooling=pooling or pooling_of(base),
        normalise=True,
        freeze_embeddings=freeze_embeddings,
        head_learning_rate=head_learning_rate,
    )
    return network, tokenizer


def suit_lengths(network: VectorClassifier, lengths: Sequence[int]) -> None:
    """Choose how attention is computed. The kernels for long texts are slow on short ones."""
    if isinstance(network, EncoderClassifier) and not torch.cuda.is_available() and median(lengths) <= SHORT:
        network.encoder.set_attn_implementation("eager")


def teach_head(
    network: EncoderClassifier, items: Sequence[Encoded], objective: Objective, *, pad: int, precision: Precision
) -> None:
    """Let a new head learn alone first: one that knows nothing would only disturb the encoder."""
    seen: Counter[object] = Counter()
    some = []
    for item in items:
        key = tuple(item.target) if isinstance(item.target, list) else item.target
        seen[key] += 1
        if seen[key] <= HEAD_ROWS:
            some.append(item)
    network.to(own_device())
    vectors = vectors_of(network, [item.tokens for item in some], pad=pad, precision=precision)
    assert vectors is not None
    learn_head(network, vectors, some, objective)
