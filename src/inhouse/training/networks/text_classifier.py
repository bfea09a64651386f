"""A compact text classifier that learns from scratch: weighted character n-grams, for Chinese and English alike.

Twenty utterances a class are too few to learn word order from, and enough to learn which pieces of words matter.
The n-grams are hashed inside the network, so that serving needs a character tokenizer and nothing else.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional as F

from inhouse.training.networks.network import encode
from inhouse.training.networks.vector_classifier import VectorClassifier

MODEL_TYPE = "inhouse-text-classifier"
PAD, UNKNOWN, GAP = "[PAD]", "[UNK]", "▁"
_HASH = 1_000_003


class TextClassifier(VectorClassifier):
    """Hashes every run of 1 to `longest` characters to a vector, sums them by learned weight, and classifies the sum.

    Shapes: B texts, T characters, G n-grams, D dimensions, C labels.
    """

    def __init__(
        self, labels: int, *, longest: int = 4, buckets: int = 2**15, dimensions: int = 64, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.longest = longest
        self.buckets = buckets
        self.vectors = nn.Embedding(buckets, dimensions)
        self.weights = nn.Embedding(buckets, 1)
        self.gram_dropout = dropout
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dimensions, labels)
        nn.init.normal_(self.vectors.weight, std=0.1)
        nn.init.zeros_(self.weights.weight)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        grams_BG, present_BG = self._grams(input_ids, attention_mask)
        present_BG = present_BG.float()
        if self.training:
            present_BG = present_BG * (torch.rand_like(present_BG) >= self.gram_dropout)
        weights_BG = torch.exp(self.weights(grams_BG).squeeze(-1)) * present_BG
        sum_BD = torch.bmm(weights_BG.unsqueeze(1), self.vectors(grams_BG)).squeeze(1)
        # inside the root: of a short text every n-gram may be dropped, and the root has no slope at zero
        norm_B1 = (weights_BG.square().sum(1, keepdim=True) + 1e-6).sqrt()
        return sum_BD / norm_B1

    def classify(self, vectors: Tensor) -> Tensor:
        return self.head(self.dropout(vectors))

    def config(self) -> dict[str, Any]:
        return {
            "model_type": MODEL_TYPE,
            "longest": self.longest,
            "buckets": self.buckets,
            "dimensions": self.vectors.embedding_dim,
        }

    @torch.no_grad()
    def weigh(self, texts: Sequence[str], tokenizer: Tokenizer) -> None:
        """Start the weights from rarity: an n-gram of few texts says more than one of most."""
        seen = torch.zeros(self.buckets)
        for text in texts:
            grams, present = self._grams(*encode(tokenizer, [text]))
            seen[grams[present.bool()].unique()] += 1
        rarity = torch.log((1 + len(texts)) / (1 + seen)) + 1
        self.weights.weight.copy_((rarity / rarity.mean()).log().unsqueeze(1))

    def _grams(self, ids_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bucket of each n-gram, shorter ones first, and whether all of its characters are there."""
        hashed = torch.zeros_like(ids_BT)
        buckets, present = [], []
        for n in range(self.longest):
            hashed = (hashed * _HASH + F.pad(ids_BT, (0, n))[:, n:] + 1) % self.buckets
            buckets.append(hashed)
            present.append(F.pad(mask_BT, (0, n))[:, n:])
        return torch.cat(buckets, 1), torch.cat(present, 1)


def character_tokenizer(texts: Iterable[str], *, max_length: int) -> Tokenizer:
    """Make a tokenizer of the characters in the texts: case and width folded, all else between words is one gap."""
    folding = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Prepend(GAP),
            normalizers.Replace(Regex(rf"[\s\p{{P}}\p{{S}}{GAP}]+"), GAP),
        ]
    )
    known = sorted(set().union(*(folding.normalize_str(text) for text in texts), {GAP}))
    vocabulary = {token: number for number, token in enumerate([PAD, UNKNOWN, *known])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = folding
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.enable_padding(pad_id=vocabulary[PAD], pad_token=PAD)
    tokenizer.enable_truncation(max_length)
    return tokenizer
