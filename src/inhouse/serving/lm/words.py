"""Texts to padded batches of token ids, for encoders and rerankers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer

from inhouse.serving.lm.piece import ContextLengthExceeded
from inhouse.serving.lm.request import BadParameter

if TYPE_CHECKING:
    from torch import Tensor

MAX_CHARS_PER_TOKEN = 32
"""A text that has more for each token that fits is too long, and is not even tokenized."""


class Words:
    """The tokenizer of a model that reads at most `limit` tokens at a time."""

    def __init__(self, directory: Path, *, limit: int) -> None:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True, use_fast=True
        )
        self.limit = limit
        self._tokenizer = tokenizer
        self._pad = tokenizer.pad_token_id or 0
        self._size = len(tokenizer)
        self._has_segments = "token_type_ids" in tokenizer.model_input_names

    def read(self, texts: Sequence[str] | Sequence[Sequence[int]]) -> list[Sequence[int]]:
        """Ids of each text, with what the model expects around it; ids that are given stay as they are."""
        read = [self._ids(text) if isinstance(text, str) else self._known(text) for text in texts]
        if not all(map(len, read)):
            raise BadParameter("input", "A text without tokens cannot be read.")
        return read

    def pair(self, first: str, second: str) -> tuple[list[int], list[int]]:
        """Ids and segments of two texts that are read together; the second is cut where both don't fit."""
        most = self.limit * MAX_CHARS_PER_TOKEN
        found = self._tokenizer(
            first[:most], second[:most], truncation="only_second", max_length=self.limit, return_token_type_ids=True
        )
        return found["input_ids"], found["token_type_ids"]

    def tensors(
        self, batch: Sequence[Sequence[int]], device: torch.device, segments: Sequence[Sequence[int]] | None = None
    ) -> "dict[str, Tensor]":
        """What the network takes, padded to the longest."""
        longest = max(map(len, batch))
        rest = [longest - len(ids) for ids in batch]
        rows = {
            "input_ids": [[*ids, *[self._pad] * more] for ids, more in zip(batch, rest, strict=True)],
            "attention_mask": [[1] * len(ids) + [0] * more for ids, more in zip(batch, rest, strict=True)],
        }
        if segments is not None and self._has_segments:
            rows["token_type_ids"] = [[*row, *[0] * more] for row, more in zip(segments, rest, strict=True)]
        return {name: torch.tensor(values, device=device) for name, values in rows.items()}

    def _ids(self, text: str) -> list[int]:
        if len(text) > self.limit * MAX_CHARS_PER_TOKEN:
            raise ContextLengthExceeded(len(text) // MAX_CHARS_PER_TOKEN, self.limit, param="input")
        try:
            return self._tokenizer(text, truncation=False, verbose=False)["input_ids"]
        except UnicodeEncodeError as error:
            raise BadParameter("input", f"Character {error.start} of a text is half a surrogate pair.") from error

    def _known(self, ids: Sequence[int]) -> Sequence[int]:
        if any(not 0 <= id < self._size for id in ids):
            raise BadParameter("input", f"Token ids of this model lie between 0 and {self._size - 1}.")
        return ids
