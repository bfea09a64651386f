"""Networks that read two texts together and say whether they belong together: on an encoder, or from scratch."""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification

from inhouse.training.networks.network import Network, encode
from inhouse.training.networks.pretrained import Pretrained, longest_of, open_with_head
from inhouse.training.networks.text_classifier import character_tokenizer

MODEL_TYPE = "inhouse-pair-scorer"
LONGEST = 4
_HASH = 1_000_003


class EncoderPairScorer(Pretrained):
    """A cross encoder: a pretrained encoder that reads both texts as one."""


class SegmentedPairScorer(Pretrained):
    """The same on an encoder that is told which of the two texts a token belongs to."""

    inputs = ("input_ids", "attention_mask", "token_type_ids")


class CharacterPairScorer(Network):
    """Compares the runs of characters that two texts have in common, by learned weight, and what both are about.

    Shapes: B pairs, T characters, G runs, D dimensions.
    """

    inputs = ("input_ids", "attention_mask", "token_type_ids")

    def __init__(
        self, *, buckets: int = 2**16, vectors: int = 2**14, dimensions: int = 48, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.buckets = buckets
        self.weights = nn.Embedding(buckets, 1)
        self.vectors = nn.Embedding(vectors, dimensions)
        self.gram_dropout = dropout
        self.compare = nn.Linear(2 * LONGEST + 2 * dimensions, dimensions)
        self.head = nn.Linear(dimensions, 1)
        nn.init.zeros_(self.weights.weight)
        nn.init.normal_(self.vectors.weight, std=0.1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        first_BT, second_BT = attention_mask * (1 - token_type_ids), attention_mask * token_type_ids
        sums, shares = [], []
        runs = self._runs(input_ids, first_BT), self._runs(input_ids, second_BT)
        for own, other in (runs, runs[::-1]):
            shares += [self._share(run, seen) for run, seen in zip(own, other, strict=True)]
            sums.append(self._sum(torch.cat(own, 1)))
        both_BD = torch.cat([sums[0] * sums[1], (sums[0] - sums[1]).abs()], 1)
        return self.head(F.gelu(self.compare(torch.cat([*shares, both_BD], 1))))

    def config(self) -> dict[str, Any]:
        return {
            "model_type": MODEL_TYPE,
            "buckets": self.buckets,
            "vectors": self.vectors.num_embeddings,
            "dimensions": self.vectors.embedding_dim,
        }

    @torch.no_grad()
    def weigh(self, texts: Sequence[str], tokenizer: Tokenizer) -> None:
        """Start the weights from rarity: that two texts share what most texts have says little."""
        seen = torch.zeros(self.buckets)
        for text in texts:
            ids, mask = encode(tokenizer, [text])
            seen[torch.cat(self._runs(ids, mask), 1).unique()] += 1
        rarity = torch.log((1 + len(texts)) / (1 + seen)) + 1
        self.weights.weight.copy_((rarity / rarity.mean()).log().unsqueeze(1))

    def _runs(self, ids_BT: Tensor, there_BT: Tensor) -> list[Tensor]:
        """The buckets of the runs of 1, 2, 3 and 4 characters that lie in one text; 0 where there is none."""
        hashed, runs = torch.zeros_like(ids_BT), []
        for n in range(LONGEST):
            hashed = (hashed * _HASH + F.pad(ids_BT, (0, n))[:, n:] + 1) % (self.buckets - 1)
            runs.append((hashed + 1) * there_BT * F.pad(there_BT, (0, n))[:, n:])
        return runs

    def _weights(self, runs_BG: Tensor) -> Tensor:
        return torch.exp(self.weights(runs_BG).squeeze(-1)) * (runs_BG > 0)

    def _share(self, own_BG: Tensor, other_BG: Tensor) -> Tensor:
        """How much of a text is found in the other one."""
        seen = torch.zeros(own_BG.shape[0], self.buckets, device=own_BG.device).scatter(1, other_BG, 1.0)
        weights_BG = self._weights(own_BG)
        return (weights_BG * seen.gather(1, own_BG)).sum(1, keepdim=True) / (weights_BG.sum(1, keepdim=True) + 1e-6)

    def _sum(self, runs_BG: Tensor) -> Tensor:
        weights_BG = self._weights(runs_BG)
        if self.training:
            weights_BG = weights_BG * (torch.rand_like(weights_BG) >= self.gram_dropout)
        sum_BD = torch.bmm(weights_BG.unsqueeze(1), self.vectors(runs_BG % self.vectors.num_embeddings)).squeeze(1)
        return 8 * sum_BD / (weights_BG.square().sum(1, keepdim=True) + 1e-6).sqrt()


def open_pair_scorer(base: str, *, max_length: int) -> tuple[Pretrained, Tokenizer]:
    """Return an encoder with a new head of one score, and its tokenizer, which cuts the longer of two texts."""
    model, tokenizer = open_with_head(AutoModelForSequenceClassification, base, labels=1)
    has_segments = "token_type_ids" in tokenizer.model_input_names and getattr(model.config, "type_vocab_size", 0) > 1
    kind = SegmentedPairScorer if has_segments else EncoderPairScorer
    tokenizer.model_max_length = longest_of(model, tokenizer, max_length)
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(tokenizer.model_max_length)
    backend.enable_padding(pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]")
    return kind(model, tokenizer), backend


def pair_tokenizer(texts: Sequence[str], *, max_length: int) -> Tokenizer:
    """Make a tokenizer of characters that says which of two texts each belongs to."""
    tokenizer = character_tokenizer(texts, max_length=max_length)
    tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    return tokenizer


@torch.no_grad()
def cool(network: Network, temperature: float) -> None:
    """Divide the score by a temperature, in the last layer: whoever opens the network gets honest chances."""
    last = [one for one in network.modules() if isinstance(one, nn.Linear) and one.out_features == 1][-1]
    last.weight.div_(temperature)
    if last.bias is not None:
        last.bias.div_(temperature)
