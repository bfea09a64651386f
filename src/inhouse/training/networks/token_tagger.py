"""Networks that give every token of a text its tag: on a pretrained encoder, or from scratch on characters."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerFast

from inhouse.training.networks.network import Network
from inhouse.training.networks.pretrained import Pretrained, longest_of, open_with_head

MODEL_TYPE = "inhouse-character-tagger"
PAD, UNKNOWN = "[PAD]", "[UNK]"
DILATIONS = (1, 2, 4, 8, 16, 32, 1)
"""How far apart the three characters are that each layer reads: together they see 64 to either side."""
UNSEEN = 0.02
"""The share of characters hidden while learning: some of those to come were never seen."""
_HASH = 1_000_003


class EncoderTagger(Pretrained):
    """A pretrained encoder that scores the tags of its tokens."""

    per_token = True

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tags: Sequence[str]) -> None:
        super().__init__(model, tokenizer)
        model.config.id2label = dict(enumerate(tags))
        model.config.label2id = {tag: number for number, tag in enumerate(tags)}


class CharacterTagger(Network):
    """Sees each character with its neighbours, in layers of convolutions that reach ever farther.

    Padding never shows: what it would add is masked in every layer. Shapes: B texts, T characters, D dimensions.
    """

    per_token = True

    def __init__(
        self,
        tags: int,
        characters: int,
        *,
        dimensions: int = 96,
        buckets: int = 2**14,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.buckets = buckets
        self.characters = nn.Embedding(characters, dimensions)
        self.grams = nn.Embedding(buckets, dimensions)
        self.layers = nn.ModuleList(_Layer(dimensions, dilation, dropout) for dilation in DILATIONS)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dimensions)
        self.head = nn.Linear(dimensions, tags)
        nn.init.normal_(self.characters.weight, std=0.3)
        nn.init.normal_(self.grams.weight, std=0.1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        ids_BT = input_ids * attention_mask
        if self.training:
            ids_BT = torch.where(torch.rand_like(ids_BT, dtype=torch.float32) < UNSEEN, attention_mask, ids_BT)
        mask_BT1 = attention_mask.unsqueeze(-1).to(self.head.weight.dtype)
        seen_BTD = self.characters(ids_BT)
        for grams_BT in self._grams(ids_BT):
            seen_BTD = seen_BTD + self.grams(grams_BT)
        hidden_BTD = self.dropout(seen_BTD) * mask_BT1
        for layer in self.layers:
            hidden_BTD = layer(hidden_BTD, mask_BT1)
        return self.head(self.dropout(self.norm(hidden_BTD)))

    def config(self) -> dict[str, Any]:
        return {
            "model_type": MODEL_TYPE,
            "characters": self.characters.num_embeddings,
            "dimensions": self.characters.embedding_dim,
            "buckets": self.buckets,
        }

    def _grams(self, ids_BT: Tensor) -> list[Tensor]:
        """The buckets of the two runs of two characters and the three runs of three that each character is part of."""
        two_BT = (ids_BT * _HASH + _shift(ids_BT, -1) + 1) % self.buckets
        three_BT = (two_BT * _HASH + _shift(ids_BT, -2) + 1) % self.buckets
        return [two_BT, _shift(two_BT, 1), three_BT, _shift(three_BT, 1), _shift(three_BT, 2)]


class _Layer(nn.Module):
    """A gated convolution over each character and the two that are `dilation` away, added to what was there."""

    def __init__(self, dimensions: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dimensions)
        self.reach = nn.Conv1d(dimensions, 2 * dimensions, 3, padding=dilation, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BTD: Tensor, mask_BT1: Tensor) -> Tensor:
        near_BDT = (self.norm(hidden_BTD) * mask_BT1).transpose(1, 2)
        return (hidden_BTD + self.dropout(F.glu(self.reach(near_BDT), 1).transpose(1, 2))) * mask_BT1


def open_tagger(base: str, tags: Sequence[str], *, max_length: int) -> tuple[EncoderTagger, Tokenizer, int]:
    """Return an encoder with a new head for these tags, its tokenizer, and how many tokens it reads."""
    model, tokenizer = open_with_head(AutoModelForTokenClassification, base, labels=len(tags))
    tokenizer.model_max_length = longest_of(model, tokenizer, max_length)
    return EncoderTagger(model, tokenizer, tags), tokenizer.backend_tokenizer, tokenizer.model_max_length


def tagging_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Make a tokenizer whose tokens are the characters of a text, all of them; only case and width are folded."""
    folding = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    known = sorted(set().union(*(folding.normalize_str(text) for text in texts)))
    vocabulary = {token: number for number, token in enumerate([PAD, UNKNOWN, *known])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = folding
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return tokenizer


def _shift(ids_BT: Tensor, by: int) -> Tensor:
    """Move each row `by` places to the right, with zeros where nothing was."""
    return F.pad(ids_BT, (by, -by))
