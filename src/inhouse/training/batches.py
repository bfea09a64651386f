"""Which rows go together: shuffled every epoch, yet of similar length, so that little is padding."""

import random
from collections.abc import Sequence

WINDOW = 50
"""Batches are sorted by length within windows of this many: long enough to pack well, short enough to mix."""


def epoch_batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Return the row indices of each batch of an epoch, a function of its arguments alone: resuming needs no more."""
    chance = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    chance.shuffle(order)
    span = WINDOW * batch_size
    batches: list[list[int]] = []
    for start in range(0, len(order), span):
        window = sorted(order[start : start + span], key=lengths.__getitem__)
        batches += [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
    chance.shuffle(batches)
    return batches
