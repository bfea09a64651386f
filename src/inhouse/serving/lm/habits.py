"""What the makers of a model say about its answers: which tokens end them, and how tokens are best chosen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inhouse.models.language.vocabulary import Vocabulary, read_json


def end_tokens(directory: Path, vocabulary: Vocabulary, configured: Mapping[str, Any]) -> frozenset[int]:
    """The tokens that end an answer."""
    found: set[int] = set()
    for config in (read_json(directory / "generation_config.json"), configured):
        ends = config.get("eos_token_id")
        found.update(ends if isinstance(ends, list) else [] if ends is None else [ends])
    named = read_json(directory / "tokenizer_config.json").get("eos_token")
    token = named.get("content") if isinstance(named, dict) else named
    for name in (token, "<|im_end|>", "<|eot_id|>"):
        id = vocabulary.id(name) if name else None
        if id is not None and id in vocabulary.special:
            found.add(id)
    return frozenset(found)


def recommended(directory: Path) -> dict[str, Any]:
    """How the model's makers want tokens chosen where a request does not say."""
    config = read_json(directory / "generation_config.json")
    if not config.get("do_sample"):
        return {}
    return {name: config[name] for name in ("temperature", "top_p", "top_k", "min_p") if config.get(name) is not None}
