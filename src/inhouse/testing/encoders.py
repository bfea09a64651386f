"""Tiny encoders and rerankers for tests: real directories with random weights, made in milliseconds."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_WORDS = ("the", "a", "leave", "holiday", "vpn", "days", "how", "many", "password", "reset", "my", "is", "年", "假")
_SIZES = {
    "vocab_size": len(_SPECIAL) + len(_WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "initializer_range": 0.5,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def tiny_encoder(directory: Path, *, pooling: str = "", seed: int = 1) -> Path:
    """An encoder of 16 dimensions that reads 32 tokens; with a pooling (`mean_tokens`, `cls_token`, …) in the layout of
    sentence-transformers.
    """
    torch.manual_seed(seed)
    _save(BertModel(_config()), directory)
    if pooling:
        kinds = ("Transformer", "Pooling", "Normalize")
        modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
        (directory / "modules.json").write_text(json.dumps(modules))
        (directory / "1_Pooling").mkdir(exist_ok=True)
        (directory / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    return directory


def tiny_reranker(directory: Path, *, labels: int = 1, seed: int = 1) -> Path:
    """A cross encoder; with one label it is a reranker."""
    torch.manual_seed(seed)
    network = BertForSequenceClassification(_config(num_labels=labels))
    _save(network, directory)
    return directory


def _config(**more: Any) -> BertConfig:
    return BertConfig(**_SIZES, **more)


def _save(network: Any, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(directory)
    known = {word: id for id, word in enumerate((*_SPECIAL, *_WORDS))}
    tokenizer = Tokenizer(WordLevel(known, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(directory)
