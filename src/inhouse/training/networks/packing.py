"""Several sequences behind each other in one row, none seeing another: no padding, and exactly the same losses.

Shapes: B rows, T places.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Sequence

import torch
from torch import Tensor

from inhouse.training.networks.tokens import Tokens

IGNORED = -100
NOBODY = -1
"""The number of the sequence that filled-up places belong to."""


def pack(lengths: Sequence[int], capacity: int, *, order: Sequence[int] | None = None) -> list[list[int]]:
    """Fill rows of `capacity` places: longest first, each into the row where it leaves the least room."""
    longest_first = sorted(order if order is not None else range(len(lengths)), key=lambda one: -lengths[one])
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    for one in longest_first:
        place = bisect_left(rooms, (lengths[one], -1))
        if place < len(rooms):
            room, row = rooms.pop(place)
            rows[row].append(one)
        else:
            room, row = capacity, len(rows)
            rows.append([one])
        insort(rooms, (room - lengths[one], row))
    return rows


def packed_batches(lengths: Sequence[int], capacity: int, batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Batches of about `batch_size` sequences that fill whole rows; as many of them in every epoch."""
    chance = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    chance.shuffle(order)
    rows = pack(lengths, capacity, order=order)
    chance.shuffle(rows)
    together = max(1, round(batch_size * len(rows) / max(1, len(lengths))))
    groups = (rows[start : start + together] for start in range(0, len(rows), together))
    return [[one for row in group for one in row] for group in groups]


def laid_out(sequences: Sequence[Tokens], *, capacity: int = 0) -> dict[str, Tensor]:
    """The tensors of a batch: one sequence a row, or packed into rows of `capacity` places.

    `targets` is what follows each place where that is learned, `sequence` the number of the sequence it belongs to.
    Packed rows also have `position_ids`, which start over with every sequence.
    """
    rows = pack([len(one) for one in sequences], capacity) if capacity else [[n] for n in range(len(sequences))]
    width = max(sum(len(sequences[number]) for number in row) for row in rows)
    shape = (len(rows), width)
    batch = {
        "input_ids": torch.zeros(shape, dtype=torch.long),
        "targets": torch.full(shape, IGNORED),
        "sequence": torch.full(shape, NOBODY),
    }
    if capacity:
        batch["position_ids"] = torch.zeros(shape, dtype=torch.long)
    for row, numbers in enumerate(rows):
        start = 0
        for number in numbers:
            tokens = sequences[number]
            end = start + len(tokens)
            ids = torch.tensor(tokens.ids)
            batch["input_ids"][row, start:end] = ids
            batch["targets"][row, start : end - 1] = ids[1:].masked_fill(~torch.tensor(tokens.learn[1:]), IGNORED)
            batch["sequence"][row, start:end] = number
            if capacity:
                batch["position_ids"][row, start:end] = torch.arange(len(tokens))
            start = end
    return batch


def block_mask(sequence_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """What to add to the attention [B, 1, T, T]: each place sees those before it in its own sequence."""
    same_BTT = sequence_BT.unsqueeze(2) == sequence_BT.unsqueeze(1)
    seen_BTT = same_BTT.tril()
    mask_BTT = torch.zeros_like(seen_BTT, dtype=dtype).masked_fill(~seen_BTT, torch.finfo(dtype).min)
    return mask_BTT.unsqueeze(1)
