"""Networks that turn a text into a vector of length one: from scratch on character n-grams, or a pretrained encoder."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from inhouse.models.language.pooling import read_pooling, write_pooling
from inhouse.training.networks.bases import resolve_base
from inhouse.training.networks.encoder_classifier import open_base
from inhouse.training.networks.network import Network
from inhouse.training.networks.text_classifier import TextClassifier

MODEL_TYPE = "inhouse-text-encoder"
TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json")
"""What transformers wants to know of a tokenizer besides tokenizer.json."""


class TextEncoder(Network):
    """Sums the vectors of all character n-grams, the rare ones with more weight, and turns the sum.

    Before any training this compares texts by the n-grams they share: already better than chance.
    """

    output = "vector"

    def __init__(self, *, longest: int = 4, buckets: int = 2**15, dimensions: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.pooling = "sum"
        self.grams = TextClassifier(
            dimensions, longest=longest, buckets=buckets, dimensions=dimensions, dropout=dropout
        )
        nn.init.orthogonal_(self.grams.head.weight)
        nn.init.zeros_(self.grams.head.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return F.normalize(self.grams(input_ids, attention_mask).float(), dim=-1)

    def config(self) -> dict[str, Any]:
        return {**self.grams.config(), "model_type": MODEL_TYPE}

    def weigh(self, texts: Sequence[str], tokenizer: Tokenizer) -> None:
        """Start the weights from rarity."""
        self.grams.weigh(texts, tokenizer)


class PooledEncoder(Network):
    """A pretrained encoder whose token states become one vector. Its artifact is a sentence-transformers directory."""

    output = "vector"

    def __init__(self, encoder: PreTrainedModel, pooling: str, *, directory: Path, max_length: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dimensions: int = encoder.config.hidden_size
        self.pooling = pooling
        self._directory = directory
        self._max_length = max_length

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return F.normalize(_pool(states, attention_mask, self.pooling).float(), dim=-1)

    def config(self) -> dict[str, Any]:
        return {**self.encoder.config.to_dict(), "architectures": [type(self.encoder).__name__]}

    def tensors(self) -> Mapping[str, Tensor]:
        return self.encoder.state_dict()

    def write_more(self, directory: Path) -> None:
        write_pooling(directory, self.pooling, dimensions=self.dimensions, max_length=self._max_length)
        for name in TOKENIZER_FILES:
            if (self._directory / name).is_file():
                shutil.copyfile(self._directory / name, directory / name)


def open_encoder(base: str, *, max_length: int) -> tuple[PooledEncoder, Tokenizer]:
    """Open a pretrained encoder that pools as its directory says, and its tokenizer."""
    directory = resolve_base(base)
    pooling = read_pooling(directory)
    encoder, tokenizer = open_base(directory, max_length=max_length)
    truncation = tokenizer.truncation
    assert truncation is not None
    return PooledEncoder(encoder, pooling, directory=directory, max_length=truncation["max_length"]), tokenizer


def _pool(states_BTD: Tensor, mask_BT: Tensor, pooling: str) -> Tensor:
    if pooling == "cls":
        return states_BTD[:, 0]
    if pooling == "last":
        last_B11 = (mask_BT.sum(1) - 1).view(-1, 1, 1)
        return states_BTD.gather(1, last_B11.expand(-1, 1, states_BTD.shape[-1])).squeeze(1)
    mask_BT1 = mask_BT.unsqueeze(-1).to(states_BTD.dtype)
    return (states_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)
