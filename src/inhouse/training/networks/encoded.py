"""Texts as token numbers, made once, and what is computed of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

import torch
from tokenizers import Tokenizer
from torch import Tensor

from inhouse.training.dataset import Row
from inhouse.training.labels import Labelled
from inhouse.training.networks.objectives import Objective
from inhouse.training.networks.vector_classifier import VectorClassifier
from inhouse.training.precision import autocast, number_type
from inhouse.training.task import Precision

BATCH = 128


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row as token numbers. A weight of 4 counts as much as four rows; `soft` is what a teacher says of it."""

    id: str
    tokens: list[int]
    target: int | list[float]
    weight: float = 1.0
    soft: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)


def encoded(
    rows: Sequence[Row],
    labelled: Labelled,
    tokenizer: Tokenizer,
    objective: Objective,
    *,
    weights: Sequence[float] | None = None,
) -> list[Encoded]:
    """The rows as the loop takes them."""
    tokens = tokens_of(tokenizer, [row.text for row in rows])
    numbers = labelled.numbers(rows)
    return [
        Encoded(row.id, one, objective.target(of_row), weight)
        for row, one, of_row, weight in zip(rows, tokens, numbers, weights or [1.0] * len(rows), strict=True)
    ]


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The token numbers of each text, without padding."""
    return [list(compress(one.ids, one.attention_mask)) for one in tokenizer.encode_batch(list(texts))]


def padded(tokens: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token numbers and attention mask, padded to the longest."""
    longest = max(map(len, tokens))
    ids = [[*one, *[pad] * (longest - len(one))] for one in tokens]
    mask = [[1] * len(one) + [0] * (longest - len(one)) for one in tokens]
    return torch.tensor(ids), torch.tensor(mask)


def pad_of(tokenizer: Tokenizer) -> int:
    return (tokenizer.padding or {"pad_id": 0})["pad_id"]


def vectors_of(
    network: VectorClassifier,
    tokens: Sequence[Sequence[int]],
    *,
    pad: int,
    precision: Precision,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """One vector for each text, on the device of the network; None when asked to stop."""
    device = next(network.parameters()).device
    network.eval()
    found: dict[int, Tensor] = {}
    with torch.inference_mode(), autocast(device, number_type(precision, device)):
        for places in _alike(tokens):
            if should_stop():
                return None
            ids, mask = padded([tokens[place] for place in places], pad)
            found.update(zip(places, network.embed(ids.to(device), mask.to(device)).float(), strict=True))
    return torch.stack([found[place] for place in range(len(tokens))]).clone()


def _alike(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Batches of texts that are about as long."""
    order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
    return (order[start : start + BATCH] for start in range(0, len(order), BATCH))
