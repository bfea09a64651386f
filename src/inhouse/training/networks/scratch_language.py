"""A small language model to train from scratch: for machines without a base, and for what is small enough to learn."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM

from inhouse.models.language.template import CHATML
from inhouse.models.language.vocabulary import Vocabulary
from inhouse.training.networks.layout import copy_beside
from inhouse.training.networks.quiet import quiet
from inhouse.training.networks.tokens import end_token

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"


def write_scratch(
    directory: Path,
    texts: Iterable[str],
    *,
    size: int = 128,
    layers: int = 4,
    words: int = 2000,
    context: int = 1024,
    like: Path | None = None,
) -> Path:
    """Write a model in the layout of Hugging Face: random weights, a tokenizer for these texts or of another."""
    directory.mkdir(parents=True, exist_ok=True)
    if like:
        copy_beside(like, directory)
    else:
        _write_tokenizer(directory, texts, words, context)
    vocabulary = Vocabulary(directory)
    end = end_token(directory, vocabulary)
    config = Qwen2Config(
        vocab_size=vocabulary.size,
        hidden_size=size,
        intermediate_size=4 * size,
        num_hidden_layers=layers,
        num_attention_heads=max(1, size // 32),
        num_key_value_heads=max(1, size // 64),
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=vocabulary.id(PAD),
    )
    with quiet():
        Qwen2ForCausalLM(config).save_pretrained(directory)
    return directory


def _write_tokenizer(directory: Path, texts: Iterable[str], words: int, context: int) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=words, initial_alphabet=alphabet, special_tokens=[PAD, START, END], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": context,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    (directory / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
